// The panels' texts in the user's language. English is written where it is used, also by the server; a table maps whole
// sentences, with {} for their values. What it does not know stays English.

/** @type {{pattern: RegExp, text: string}[]} */
let table = [];
let spoken = "en";

/** Languages with a table of their own, beside English. */
export const TABLES = ["zh"];

/** @param {string} text */
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/**
 * Use this table: whole English sentences to sentences of another language.
 * @param {Record<string, string>} sentences
 */
export function useTable(sentences) {
  // the longest first: "3 high + 1 low" is no number before " low"
  const entries = Object.entries(sentences).sort(([one], [other]) => other.length - one.length);
  table = entries.map(([english, text]) => ({
    pattern: new RegExp(`^${english.split("{}").map(escaped).join("(.+?)")}$`, "s"),
    text,
  }));
}

/**
 * Speak the language of this locale from now on; asks for its table once.
 * @param {string} locale such as "en", "zh" or "zh-TW"
 * @returns {Promise<boolean>} whether what is shown has to be drawn again
 */
export async function speak(locale) {
  const wanted = TABLES.includes(locale) ? locale : "en";
  if (wanted === spoken) return false;
  spoken = wanted;
  const found = wanted === "en" ? {} : await (await fetch(new URL(`../words/${wanted}.json`, import.meta.url))).json();
  if (wanted === spoken) useTable(found);
  return true;
}

/**
 * The text in the user's language, its values too.
 * @param {string} text
 * @returns {string}
 */
export function t(text) {
  for (const each of table) {
    const found = each.pattern.exec(text);
    if (!found) continue;
    let index = 0;
    return each.text.replace(/\{\}/g, () => t(found[++index]));
  }
  return text;
}

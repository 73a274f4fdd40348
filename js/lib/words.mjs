// The panels' texts in the user's language. English is written where it is used; a table has the rest. What it does not know
// stays English, and what a user or a provider wrote is never looked up.

/** @type {Record<string, string>} */
let own = {};
/** @type {{pattern: RegExp, text: string, nested: boolean[]}[]} */
let sentences = [];
let spoken = "en";

/** Languages with a table of their own, beside English. */
export const TABLES = ["ja", "ko", "zh", "zh-TW"];

const PLACE = /\{[ns]?\}/g;
const VALUES = /** @type {Record<string, string>} */ ({ "{}": "(.+?)", "{n}": "(-?[\\d.]+)", "{s}": "(.+?)" });

/** @param {string} text */
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** @param {string} text @param {string[]} values */
function filled(text, values) {
  let index = 0;
  return text.replace(PLACE, () => values[index++] ?? "");
}

/**
 * Use these tables: `own` has the panels' texts, with {} for a value; `server` has sentences of the pack's server, with {n} for
 * a number, {} for any other value and {s} for a sentence of the server's.
 * @param {{own?: Record<string, string>, server?: Record<string, string>}} table
 */
export function useTable(table) {
  own = table.own ?? {};
  sentences = Object.entries(table.server ?? {}).map(([english, text]) => {
    const places = english.match(PLACE) ?? [];
    const parts = english.split(PLACE).map(escaped);
    const source = parts.map((part, index) => part + (VALUES[places[index]] ?? "")).join("");
    return { pattern: new RegExp(`^${source}$`, "s"), text, nested: places.map((place) => place === "{s}") };
  });
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
 * A text of the panels' own in the user's language, its {} replaced by these values as they are.
 * @param {string} text
 * @param {...(string | number)} values
 */
export const t = (text, ...values) => filled(own[text] ?? text, values.map(String));

/**
 * A sentence of the pack's server in the user's language.
 * @param {string} sentence
 * @returns {string}
 */
export function said(sentence) {
  for (const { pattern, text, nested } of sentences) {
    const found = pattern.exec(sentence);
    if (found) return filled(text, found.slice(1).map((value, index) => (nested[index] ? said(value) : value)));
  }
  return sentence;
}

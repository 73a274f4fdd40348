// Pure parts of the playground: no document, no network.

/** The value to send for a field's text: a number stays text when it is none, so that the gateway's check says why. */
export function fieldValue(field, text) {
  if (field.type === "string") return text;
  const number = Number(text);
  return text.trim() === "" || Number.isNaN(number) ? text : number;
}

/** A field's range in words, or "". */
export function limitsText(field) {
  if (field.minimum === undefined && field.maximum === undefined) return "";
  return `${field.minimum ?? "…"} to ${field.maximum ?? "…"}.`;
}

/** One line about an error answer of either API's shape. */
export function problemOf(answer, status) {
  return answer.error_message ?? answer.message ?? `The gateway answered HTTP ${status}.`;
}

/** The field that an error is about: a board's error names one of its keyframes, or a segment, by its number. */
export function placeOf(error, keyframes) {
  const [, kind, number] = /^(keyframe|segment) (\d+)/.exec(error.message) ?? [];
  if (kind === "segment") return `segment-${number}-prompt`;
  return keyframes[number - 1]?.name ?? error.field;
}

/** What to show for a status: stage, progress (null: none) and detail. */
export function describeState(status) {
  if (status.status === "in_queue") {
    const before = (status.queue_position ?? 1) - 1;
    return { stage: "In the queue", value: null, detail: before > 0 ? `Place ${before + 1}, ${before} before this one` : "Next in line" };
  }
  if (status.status === "in_progress") {
    const value = status.progress ?? 0;
    return { stage: status.stage || "Working", value, detail: `${Math.round(value * 100)} %` };
  }
  return { stage: "Fetching the result", value: 1, detail: "" };
}

/** The request as a line for a POSIX shell. */
export function curlLine(origin, model, values, auth) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl --request POST --url ${origin}/v1/models/${model}`, `--header "Content-Type: application/json"`];
  if (auth) lines.push(`--header "Authorization: Bearer <token>"`);
  lines.push(`--data ${quote(JSON.stringify(values, null, 2))}`);
  return lines.join(" \\\n  ");
}

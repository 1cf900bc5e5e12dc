/**
 * Text from outside, made safe for one line of a log or a terminal.
 *
 * @module
 */

/**
 * What ends a line, moves the cursor, hides or reorders text: control and
 * format characters, line and paragraph separators, lone surrogates.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const UNSAFE_BUT_LINE_FEED = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** A character by its UTF-16 units, as JSON and source write it. */
function escapeUnits(character: string): string {
  let escaped = "";
  for (let i = 0; i < character.length; i++) {
    const unit = character.charCodeAt(i).toString(16).padStart(4, "0");
    escaped += `\\u${unit}`;
  }
  return escaped;
}

/**
 * Writes each character that could end the line or be obeyed by a terminal as
 * `\uXXXX`. JSON text stays the same JSON.
 */
export function escape(text: string): string {
  return text.replace(UNSAFE, escapeUnits);
}

/** The same for text of several lines: a line feed stays. */
export function escapeLines(text: string): string {
  return text.replace(UNSAFE_BUT_LINE_FEED, escapeUnits);
}

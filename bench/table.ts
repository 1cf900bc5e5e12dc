/** Figures as text. */

/** A whole number in groups of three digits: 1 048 576. */
export function whole(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** A measured number, of which three digits count: 98 800, 1.25. */
export function rounded(value: number): string {
  const near = Number(value.toPrecision(3));
  if (near === 0) return "0";
  const digits = 2 - Math.floor(Math.log10(Math.abs(near)));
  return digits > 0 ? near.toFixed(digits) : whole(near);
}

/** How many times as much one figure is as another. */
export function times(value: number, other: number): string {
  return `${(value / other).toFixed(2)} ×`;
}

/** The middle of the values; of two, the upper. */
export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/**
 * A table in Markdown that is also a table to the eye; all columns but the
 * first are set to the right.
 */
export function table(head: string[], rows: string[][]): string {
  const widths = head.map((cell, column) =>
    Math.max(3, cell.length, ...rows.map((row) => row[column].length))
  );
  const line = (cells: string[]) =>
    `| ${
      cells.map((cell, column) =>
        column === 0
          ? cell.padEnd(widths[column])
          : cell.padStart(widths[column])
      ).join(" | ")
    } |`;
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`
  );
  return [head, rule, ...rows].map(line).join("\n") + "\n";
}

/** Bar charts as SVG. */

/** One bar. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** What stands at its end. */
  readonly text: string;
  /** Whether it is ours. */
  readonly ours: boolean;
}

/** Bars on a scale of their own. */
export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

/** Panels side by side, whose bars have the same labels in the same order. */
export interface Chart {
  readonly title: string;
  readonly caption: string;
  readonly panels: readonly Panel[];
}

const MARGIN = 24;
const LABEL_WIDTH = 216;
const PANEL_WIDTH = 300;
/** Space behind the longest bar for its figure. */
const VALUE_WIDTH = 72;
const PANEL_GAP = 24;
const HEAD_HEIGHT = 84;
const ROW_HEIGHT = 28;
const BAR_HEIGHT = 18;
const FOOT_HEIGHT = 20;

const STYLE = "text { font: 13px system-ui, sans-serif; fill: #24292f; }" +
  " .title { font-size: 17px; font-weight: 600; }" +
  " .panel { font-weight: 600; }" +
  " .caption { font-size: 11px; fill: #57606a; }" +
  " .ground { fill: #f6f8fa; }" +
  " .bar { fill: #8c959f; } .ours { fill: #0969da; }" +
  " @media (prefers-color-scheme: dark) {" +
  " text { fill: #e6edf3; } .caption { fill: #9198a1; }" +
  " .ground { fill: #161b22; }" +
  " .bar { fill: #6e7681; } .ours { fill: #4493f8; } }";

/** Draws a chart. */
export function draw({ title, caption, panels }: Chart): string {
  const rows = panels[0].bars.length;
  const width = 2 * MARGIN + LABEL_WIDTH + panels.length * PANEL_WIDTH +
    (panels.length - 1) * PANEL_GAP;
  const captions = wrap(caption, Math.floor((width - 2 * MARGIN) / 6));
  const bottom = HEAD_HEIGHT + rows * ROW_HEIGHT;
  const height = bottom + FOOT_HEIGHT + captions.length * 16;
  const labels = panels[0].bars.map(({ label }, row) =>
    text(MARGIN, baseline(row), label)
  );
  const drawn = panels.flatMap((panel, column) =>
    drawPanel(panel, MARGIN + LABEL_WIDTH + column * (PANEL_WIDTH + PANEL_GAP))
  );
  const foot = captions.map((line, i) =>
    text(MARGIN, bottom + FOOT_HEIGHT + i * 16, line, "caption")
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${width}" height="${height}" rx="6"/>`,
    text(MARGIN, 36, title, "title"),
    ...labels,
    ...drawn,
    ...foot,
    "</svg>\n",
  ].join("\n");
}

function drawPanel({ title, bars }: Panel, x: number): string[] {
  const most = Math.max(...bars.map(({ value }) => value));
  const parts = [text(x, HEAD_HEIGHT - 16, title, "panel")];
  bars.forEach(({ value, text: figure, ours }, row) => {
    const length = Math.max(
      1,
      Math.round((PANEL_WIDTH - VALUE_WIDTH) * value / most),
    );
    const y = HEAD_HEIGHT + row * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) / 2;
    parts.push(
      `<rect class="bar${
        ours ? " ours" : ""
      }" x="${x}" y="${y}" width="${length}" height="${BAR_HEIGHT}" rx="2"/>`,
      text(x + length + 6, baseline(row), figure),
    );
  });
  return parts;
}

function baseline(row: number): number {
  return HEAD_HEIGHT + row * ROW_HEIGHT + ROW_HEIGHT / 2 + 5;
}

function text(x: number, y: number, content: string, kind?: string): string {
  const name = kind === undefined ? "" : ` class="${kind}"`;
  return `<text${name} x="${x}" y="${y}">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** Breaks text between its words into lines of so many characters. */
function wrap(content: string, most: number): string[] {
  const lines = [""];
  for (const word of content.split(" ")) {
    const line = lines[lines.length - 1];
    if (line !== "" && line.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}

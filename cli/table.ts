/** Tables without borders: a line of headings, then rows, columns two spaces apart. */
import CliTable from 'cli-table3';
import type { Colors } from './terminal.ts';

export interface Column<Row> {
  readonly title: string;
  readonly isNumber?: boolean;
  readonly read: (row: Row) => string;
}

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Lines joined by newlines, without trailing spaces. */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  colors: Colors,
): string {
  const table = new CliTable({
    head: columns.map((column) => colors.dim(column.title.toUpperCase())),
    colAligns: columns.map((column) => (column.isNumber === true ? 'right' : 'left')),
    chars: NO_BORDERS,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of rows) table.push(columns.map((column) => column.read(row)));
  return trimLines(table.toString());
}

/** `name value` pairs under each other, for one thing. */
export function renderFacts(
  facts: readonly (readonly [name: string, value: string])[],
  colors: Colors,
): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${colors.dim(name.padEnd(width))}  ${value}`).join('\n');
}

function trimLines(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Markup in template literals: `html` makes preact nodes, without a compiler step. */
import htm from 'htm';
import { type ComponentChild, h } from 'preact';

export type Markup = ComponentChild;

type Tag = (strings: TemplateStringsArray, ...values: unknown[]) => Markup;

/** htm may give several roots; every use here has one. */
export const html = htm.bind(h) as unknown as Tag;

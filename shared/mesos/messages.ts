/**
 * All Mesos message types under one name, for those who import; each is defined in the file of its
 * API.
 */

export type * from './executor-messages.ts';
export type * from './nouns.ts';
export type * from './operator-messages.ts';
export type * from './scheduler-messages.ts';

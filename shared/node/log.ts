/**
 * Logs through winston: one JSON line per event on standard error, a constant message plus fields; on a
 * terminal a short readable line instead.
 */
import winston from 'winston';
import type { Log, LogFields, LogLevel } from '../ports.ts';

export interface LogOptions {
  /** `scheduler`, `executor`, `data`, … */
  readonly part: string;
  readonly level: LogLevel;
}

export function createLog(options: LogOptions): Log {
  const isTerminal = process.stderr.isTTY === true;
  const format = isTerminal
    ? winston.format.combine(winston.format.timestamp({ format: 'HH:mm:ss.SSS' }), readable())
    : winston.format.combine(winston.format.timestamp(), winston.format.json());
  const logger = winston.createLogger({
    level: options.level,
    format,
    defaultMeta: { part: options.part },
    transports: [
      new winston.transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] }),
    ],
  });
  return (level: LogLevel, message: string, fields: LogFields = {}) => {
    logger.log(level, message, fields);
  };
}

function readable(): winston.Logform.Format {
  return winston.format.printf((info) => {
    const { level, message, timestamp, part, ...fields } = info;
    const pairs = Object.entries(fields).map(([key, value]) => `${key}=${String(value)}`);
    return `${String(timestamp)} ${level.padEnd(5)} ${String(part)}: ${String(message)} ${pairs.join(' ')}`;
  });
}

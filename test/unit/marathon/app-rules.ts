/**
 * What Marathon demands of an app definition, as far as ours uses it: the types of its API reference, and
 * the rules that it checks across fields. Returns what is wrong, one line each, with the place.
 */

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
type Fields = Readonly<Record<string, Json>>;
type Check = (value: Json, at: string) => readonly string[];

const PATH_ID = /^(\/?((\.{2})|([a-z0-9][a-z0-9\-.]*[a-z0-9]+)|([a-z0-9]*))($|\/))+$/;
const ENVIRONMENT_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const PORT_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const OPERATORS_WITHOUT_VALUE = ['UNIQUE'];
const OPERATORS_WITH_VALUE = ['CLUSTER', 'LIKE', 'UNLIKE', 'MAX_PER', 'IS'];
const HTTP_CHECKS = ['HTTP', 'HTTPS', 'MESOS_HTTP', 'MESOS_HTTPS'];
const CHECKS = [...HTTP_CHECKS, 'TCP', 'COMMAND', 'MESOS_TCP'];

const text =
  (pattern = /./): Check =>
  (value, at) =>
    typeof value === 'string' && pattern.test(value) ? [] : [`${at}: text like ${pattern}`];

const number =
  (low: number, high = Number.POSITIVE_INFINITY, isWhole = false): Check =>
  (value, at) => {
    const isFine = typeof value === 'number' && value >= low && value <= high;
    return isFine && (!isWhole || Number.isInteger(value)) ? [] : [`${at}: ${low} to ${high}`];
  };

const whole = (low: number, high = 2 ** 31 - 1): Check => number(low, high, true);

const flag: Check = (value, at) => (typeof value === 'boolean' ? [] : [`${at}: true or false`]);

const oneOf =
  (words: readonly string[]): Check =>
  (value, at) =>
    typeof value === 'string' && words.includes(value) ? [] : [`${at}: one of ${words.join(', ')}`];

const list =
  (check: Check): Check =>
  (value, at) =>
    Array.isArray(value)
      ? value.flatMap((entry: Json, index) => check(entry, `${at}[${index}]`))
      : [`${at}: a list`];

const names =
  (pattern: RegExp): Check =>
  (value, at) =>
    isFields(value)
      ? Object.entries(value).flatMap(([name, entry]) => [
          ...(pattern.test(name) ? [] : [`${at}.${name}: a name like ${pattern}`]),
          ...(typeof entry === 'string' ? [] : [`${at}.${name}: text`]),
        ])
      : [`${at}: names and texts`];

/** Unknown fields are refused, as Marathon does. */
const fields =
  (checks: Readonly<Record<string, Check>>, required: readonly string[] = []): Check =>
  (value, at) => {
    if (!isFields(value)) return [`${at}: an object`];
    return [
      ...required.filter((name) => !(name in value)).map((name) => `${at}.${name}: is missing`),
      ...Object.entries(value).flatMap(([name, entry]) => {
        const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
        return check === undefined
          ? [`${at}.${name}: no such field`]
          : check(entry, `${at}.${name}`);
      }),
    ];
  };

const constraint: Check = (value, at) => {
  if (!Array.isArray(value) || !value.every((entry) => typeof entry === 'string')) {
    return [`${at}: a list of texts`];
  }
  const [field, operator = '', ...rest] = value as readonly string[];
  const isKnown =
    (OPERATORS_WITHOUT_VALUE.includes(operator) && rest.length === 0) ||
    (OPERATORS_WITH_VALUE.includes(operator) && rest.length === 1) ||
    (operator === 'GROUP_BY' && rest.length <= 1);
  return field !== undefined && field !== '' && isKnown ? [] : [`${at}: field, operator, value`];
};

const healthCheck: Check = (value, at) => [
  ...fields(
    {
      protocol: oneOf(CHECKS),
      path: text(/^\//),
      portIndex: whole(0, 65_535),
      port: whole(0, 65_535),
      gracePeriodSeconds: whole(0),
      intervalSeconds: whole(0),
      timeoutSeconds: whole(0),
      maxConsecutiveFailures: whole(0),
      delaySeconds: whole(0),
      command: fields({ value: text() }, ['value']),
    },
    ['protocol'],
  )(value, at),
  ...(isFields(value) && HTTP_CHECKS.includes(String(value['protocol'])) && !('path' in value)
    ? [`${at}.path: is missing`]
    : []),
];

const unreachable: Check = (value, at) => {
  if (value === 'disabled') return [];
  const checks = { inactiveAfterSeconds: whole(0), expungeAfterSeconds: whole(0) };
  const wrong = fields(checks, Object.keys(checks))(value, at);
  if (wrong.length > 0 || !isFields(value)) return wrong;
  return Number(value['expungeAfterSeconds']) >= Number(value['inactiveAfterSeconds'])
    ? []
    : [`${at}: it expunges before it is inactive`];
};

const APP = fields(
  {
    id: text(PATH_ID),
    cmd: text(),
    args: list(text()),
    instances: whole(0),
    cpus: number(0.001),
    mem: number(0),
    disk: number(0),
    user: text(),
    networks: list(
      fields({ mode: oneOf(['host', 'container', 'container/bridge']), name: text() }),
    ),
    constraints: list(constraint),
    fetch: list(
      fields({ uri: text(), extract: flag, executable: flag, cache: flag, destPath: text() }, [
        'uri',
      ]),
    ),
    portDefinitions: list(
      fields({
        port: whole(0, 65_535),
        name: text(PORT_NAME),
        protocol: oneOf(['tcp', 'udp', 'udp,tcp']),
        labels: names(/./),
      }),
    ),
    requirePorts: flag,
    env: names(ENVIRONMENT_NAME),
    labels: names(/./),
    healthChecks: list(healthCheck),
    upgradeStrategy: fields({
      minimumHealthCapacity: number(0, 1),
      maximumOverCapacity: number(0, 1),
    }),
    taskKillGracePeriodSeconds: whole(0),
    unreachableStrategy: unreachable,
    killSelection: oneOf(['YOUNGEST_FIRST', 'OLDEST_FIRST']),
    backoffSeconds: whole(0),
    backoffFactor: number(1),
    maxLaunchDelaySeconds: whole(0),
  },
  ['id'],
);

export function findFaults(app: unknown): readonly string[] {
  const value = app as Json;
  const wrong = APP(value, 'app');
  return wrong.length > 0 || !isFields(value) ? wrong : acrossFields(value);
}

function acrossFields(app: Fields): readonly string[] {
  const wrong: string[] = [];
  if ('cmd' in app === 'args' in app) wrong.push('app: either cmd or args');
  const ports = objectsOf(app['portDefinitions']);
  const portNames = ports.flatMap(({ name }) => (name === undefined ? [] : [name]));
  if (new Set(portNames).size !== portNames.length) wrong.push('app.portDefinitions: a name twice');
  const numbers = ports.map(({ port }) => port).filter((port) => port !== 0);
  if (new Set(numbers).size !== numbers.length) wrong.push('app.portDefinitions: a port twice');
  for (const { portIndex, port } of objectsOf(app['healthChecks'])) {
    if (port === undefined && Number(portIndex ?? 0) >= ports.length) {
      wrong.push('app.healthChecks: portIndex names no port');
    }
  }
  const constraints = (app['constraints'] ?? []) as readonly Json[];
  const unique = new Set(constraints.map((entry) => JSON.stringify(entry)));
  if (unique.size !== constraints.length) wrong.push('app.constraints: a constraint twice');
  return wrong;
}

function objectsOf(value: Json | undefined): readonly Fields[] {
  return ((value ?? []) as readonly Json[]).filter(isFields);
}

function isFields(value: Json | undefined): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

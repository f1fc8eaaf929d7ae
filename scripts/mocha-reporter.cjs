/** Mocha's dot reporter that also leaves its counts in a file (`--reporter-option output=FILE`). */
const { writeFileSync, rmSync } = require('node:fs');
const { reporters } = require('mocha');

class CountingReporter extends reporters.Dot {
  constructor(runner, options) {
    super(runner, options);
    const output = options.reporterOptions.output;
    rmSync(output, { force: true });
    runner.once('end', () => {
      const { passes, failures } = runner.stats;
      writeFileSync(output, JSON.stringify({ passed: passes, failed: failures }));
    });
  }
}

module.exports = CountingReporter;

// Names that begin with the team of the build's label, without forbidden words; as a plugin in JavaScript.
//
//   [plugin.config]
//   team_label = "team"                  # whose value the name begins with: team = "payments" → payments/…
//   teams = ["payments", "search"]       # the teams there are
//   forbidden_words = ["tmp", "test"]    # no part of a name or tag, between `/`, `-`, `_` and `.`
//
// An export of the contract is an object with its functions in camel case; a result's error is thrown.

import { problems, judge } from './rules.js';
import schema from './schema.js';

export const describe = {
  describe: () => ({
    name: 'naming-js',
    version: '0.1.0',
    summary: "Names that begin with the team of the build's label, without forbidden words",
    configSchema: JSON.stringify(schema),
  }),

  checkConfig(config) {
    const found = problems(JSON.parse(config));
    if (found.length > 0) throw found;
  },
};

export const validate = {
  validate(config, _caller, request) {
    const violations = judge(JSON.parse(config), request);
    return violations.length > 0 ? { tag: 'deny', val: violations } : { tag: 'allow', val: [] };
  },
};

// {{name}}: a plugin of the Ignite build gateway. What each type and limit means stands in wit/.
//
// An interface of the contract is an exported object with its functions in camel case. A variant is { tag, val }, a missing
// option undefined, a 64-bit number a BigInt; the error of a result is thrown.
//@ notify

import { post } from './http.js';
//@ end

const schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  properties: {
    label: { type: 'string', minLength: 1, default: 'owner', description: 'The label that says whose a build is.' },
    url: { type: 'string', pattern: '^https?://[^/]+', description: 'Where announcements go.' },
  },
  additionalProperties: false,
};

// The policy's [plugin.config], with what it leaves out.
const read = (config) => ({ label: 'owner', ...JSON.parse(config) });

export const describe = {
  describe: () => ({
    name: '{{name}}',
    version: '0.1.0',
    summary: 'What {{name}} does, in one line',
    configSchema: JSON.stringify(schema),
  }),

  // What a schema cannot say belongs here.
  checkConfig(config) {
    if (/\s/.test(read(config).label)) {
      throw [{ path: '/label', message: "must be a label's key, without white space" }];
    }
  },
};
//@ rewrite

export const rewrite = {
  // A build that does not say whose it is belongs to who sent it.
  rewrite(config, caller, request) {
    const { label } = read(config);
    const known = request.labels.some(({ key }) => key === label);
    const changes = known ? [] : [{ tag: 'set-label', val: { key: label, value: caller.subject } }];
    return { changes, warnings: [] };
  },
};
//@ end
//@ validate

export const validate = {
  // Every build says whose it is.
  validate(config, _caller, request) {
    const { label } = read(config);
    if (request.labels.some(({ key }) => key === label)) return { tag: 'allow', val: [] };
    return { tag: 'deny', val: [{ field: `labels["${label}"]`, message: 'is missing: say whose build it is' }] };
  },
};
//@ end
//@ inspect

// A colon before the last slash is a port's.
const isFixed = (image) => image.includes('@') || /:(?!latest$)[^:]+$/.test(image.split('/').at(-1));

export const inspect = {
  // No stage starts from an image that may be another one tomorrow.
  inspect(_config, _caller, _request, found) {
    const violations = [];
    for (const { base, line } of found.dockerfile.stages) {
      const field = `dockerfile:${line}`;
      if (base.tag === 'image' && !isFixed(base.val)) {
        violations.push({ field, message: `${base.val} needs a tag other than latest` });
      } else if (base.tag === 'unresolved') {
        violations.push({ field, message: `${base.val} cannot be known before the build` });
      }
    }
    return violations.length > 0 ? { tag: 'deny', val: violations } : { tag: 'allow', val: [] };
  },
};
//@ end
//@ redact

export const redact = {
  // The gateway looks for these in the log, at its own speed.
  rules: () => [
    {
      name: 'token',
      pattern: { tag: 'expression', val: { text: 'tok_[0-9a-z]{16}', lengthMax: 20 } },
      replacement: '[token]',
    },
  ],
};
//@ end
//@ redact-scan

const START = [...'password: '].map((c) => c.charCodeAt(0));
const LINE_END = 10;

export const redactScan = {
  // What stands behind `password: ` at the start of a line. Slower than rules: the log comes in here.
  scan(_config, lines) {
    const ranges = [];
    for (let start = 0; start < lines.length; ) {
      const found = lines.indexOf(LINE_END, start);
      const end = found < 0 ? lines.length : found;
      const secret = start + START.length;
      if (secret < end && START.every((byte, i) => lines[start + i] === byte)) ranges.push({ start: secret, end });
      start = end + 1;
    }
    return ranges;
  },
};
//@ end
//@ notify

export const notify = {
  // POSTs the end of a build as JSON to the configured URL, whose host the policy must grant.
  notify(config, delivery, build) {
    const { url } = read(config);
    if (url === undefined) return;
    const body = JSON.stringify({
      key: delivery.idempotencyKey,
      build: build.id,
      name: build.name,
      status: build.status,
      images: build.imageRefs,
    });
    let status;
    try {
      status = post(url, body);
    } catch (error) {
      throw { tag: 'again', val: `${url}: ${error.message}` };
    }
    if (status >= 200 && status < 300) return;
    const again = status === 408 || status === 429 || status >= 500;
    throw { tag: again ? 'again' : 'never', val: `${url} answered ${status}` };
  },
};
//@ end

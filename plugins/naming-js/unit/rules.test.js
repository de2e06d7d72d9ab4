import assert from 'node:assert/strict';
import { test } from 'node:test';

import { judge, problems } from '../src/rules.js';

const config = { teams: ['payments', 'search'], forbidden_words: ['tmp'] };
const request = (changes) => ({
  name: 'payments/app',
  tags: ['1.2'],
  labels: [{ key: 'team', value: 'payments' }],
  ...changes,
});
const fields = (changes) => judge(config, request(changes)).map(({ field }) => field);

test('an image below its team passes', () => {
  assert.deepEqual(fields({}), []);
});

test('a missing, an unknown and another team are each told apart', () => {
  assert.deepEqual(fields({ labels: [] }), ['labels["team"]']);
  assert.deepEqual(fields({ labels: [{ key: 'team', value: 'nobody' }] }), ['labels["team"]']);
  assert.deepEqual(fields({ labels: [{ key: 'team', value: 'search' }] }), ['name']);
});

test('a forbidden word is found as a whole part only, in any case', () => {
  assert.deepEqual(fields({ name: 'payments/my-TMP', tags: ['1', 'x_tmp.2', 'tmpfs'] }), ['name', 'tags[1]']);
});

test('a word that could never be found, or is a team, is a problem of the configuration', () => {
  assert.deepEqual(problems(config), []);
  const found = problems({ teams: ['a'], forbidden_words: ['x-y', 'a'] }).map(({ path }) => path);
  assert.deepEqual(found, ['/forbidden_words/0', '/forbidden_words/1']);
});

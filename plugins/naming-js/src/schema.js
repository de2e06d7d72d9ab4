// JSON Schema of the configuration.
const text = { type: 'string', minLength: 1 };

export default {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  properties: {
    team_label: { ...text, description: "Key of the label whose value the image's name begins with.", default: 'team' },
    teams: { type: 'array', items: text, minItems: 1, description: 'The teams there are.' },
    forbidden_words: { type: 'array', items: text, description: 'No part of a name or tag.', default: [] },
  },
  required: ['teams'],
  additionalProperties: false,
};

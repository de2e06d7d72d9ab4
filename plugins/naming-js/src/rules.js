// What is decided, apart from the contract: `npm test` runs it as it is.

const PARTS = /[/\-_.]/;

// What the schema cannot say of a configuration.
export function problems({ teams = [], forbidden_words: forbidden = [] }) {
  const found = [];
  forbidden.forEach((word, i) => {
    if (PARTS.test(word)) {
      found.push({ path: `/forbidden_words/${i}`, message: `one word, without any of / - _ . : "${word}" could never be found` });
    } else if (teams.includes(word)) {
      found.push({ path: `/forbidden_words/${i}`, message: `not the name of a team: "${word}" could build nothing` });
    }
  });
  return found;
}

// Everything that is wrong with a request.
export function judge({ team_label: label = 'team', teams, forbidden_words: forbidden = [] }, request) {
  const violations = [];
  const add = (field, message) => violations.push({ field, message });

  const team = request.labels.find(({ key }) => key === label)?.value;
  const place = `labels["${label}"]`;
  if (team === undefined) {
    add(place, `say whose image it is: one of ${teams.join(', ')}`);
  } else if (!teams.includes(team)) {
    add(place, `${team} is no team: one of ${teams.join(', ')}`);
  } else if (!request.name.startsWith(`${team}/`)) {
    add('name', `an image of team ${team} is called ${team}/…`);
  }

  const words = (text) => text.toLowerCase().split(PARTS).filter((word) => forbidden.includes(word));
  for (const word of words(request.name)) add('name', `"${word}" may be no part of a name`);
  request.tags.forEach((tag, i) => {
    for (const word of words(tag)) add(`tags[${i}]`, `"${word}" may be no part of a tag`);
  });
  return violations;
}


{
  let lines = '';
  process.stdin.on('data', (text) => { lines += text; });
  process.stdin.on('end', () => {
    for (const line of lines.split('\n').filter(Boolean)) {
      const [profile, rawBody, rawSecret, ...pairs] = line.split('\t');
      const bytes = (text) => Buffer.from(text, 'base64');
      const [body, secret, headers] = [bytes(rawBody), bytes(rawSecret).toString(), {}];
      for (const pair of pairs) {
        const [name, value] = pair.split(':');
        headers[name] = bytes(value).toString();
      }
      console.log([CALL].join(' '));
    }
  });
}

// Shows the values of date fields in the visitor's time zone, and names the time zone in the labels. The server sends and expects
// UTC, so the values are converted to UTC when a form is sent. Without this script, the fields are in UTC.

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time';
const fields = 'input[type="datetime-local"]';
const minutes = (date) => date.toISOString().slice(0, 16);

for (const input of document.querySelectorAll(fields)) {
  const label = document.querySelector(`label[for="${CSS.escape(input.id)}"]`);
  if (label) label.textContent = label.textContent.replace('(UTC)', `(${zone})`);
  if (!input.defaultValue) continue;
  const at = new Date(`${input.defaultValue}Z`);
  if (!Number.isNaN(at.getTime())) input.value = minutes(new Date(at.getTime() - at.getTimezoneOffset() * 60000));
}

document.addEventListener('formdata', (event) => {
  for (const input of event.target.elements) {
    if (!input.matches(fields) || !input.value || !event.formData.has(input.name)) continue;
    const at = new Date(input.value);
    if (!Number.isNaN(at.getTime())) event.formData.set(input.name, minutes(at));
  }
});

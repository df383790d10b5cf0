// Keyboard shortcuts: "/" searches, "j" and "k" move to the next and the previous row of a list, "?" lists the shortcuts. Enter
// opens a row, because its link has the focus. Shortcuts do nothing while the visitor types in a field, or holds Ctrl, Alt or
// Meta. The visitor can turn the shortcuts off.

const OFF = 'postrider-keys-off';
const dialog = document.getElementById('key-help');

const stored = () => { try { return localStorage.getItem(OFF) !== null; } catch { return false; } };
const store = (off) => { try { if (off) localStorage.setItem(OFF, 'yes'); else localStorage.removeItem(OFF); } catch { /* The choice lasts for this page. */ } };

if (dialog) {
  const choice = document.getElementById('keys-on');
  choice.checked = !stored();
  choice.addEventListener('change', () => store(!choice.checked));
  const button = document.getElementById('keys-button');
  const toggle = () => { if (dialog.open) dialog.close(); else dialog.showModal(); };
  if (button) {
    button.hidden = false;
    button.addEventListener('click', toggle);
  }

  /// Moves the focus to the link of the next or previous row.
  const move = (step) => {
    const rows = [...document.querySelectorAll('[data-rows] tbody tr:not(.note-row), ul[data-rows] > li')];
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
    const link = rows[next]?.querySelector('th a, a');
    link?.focus();
    return Boolean(link);
  };

  const keys = {
    '/': () => {
      const search = document.getElementById('find');
      search?.focus();
      search?.select();
      return Boolean(search);
    },
    j: () => move(1),
    k: () => move(-1),
    '?': () => { toggle(); return true; },
  };

  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable]');
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing || typing) return;
    if (!choice.checked || (dialog.open && event.key !== '?')) return;
    if (keys[event.key]?.()) event.preventDefault();
  });
}

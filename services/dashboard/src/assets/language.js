// Remembers the language in which the visitor reads code, and opens the code in that language. Without this script, the code in
// the first language is open.

const LANGUAGE = 'postrider-language';

/// The remembered language. A browser may refuse access to the storage, such as in a frame.
const remembered = () => { try { return localStorage.getItem(LANGUAGE); } catch { return null; } };
const remember = (language) => { try { localStorage.setItem(LANGUAGE, language); } catch { /* The choice lasts for this page. */ } };

const language = remembered();
for (const details of document.querySelectorAll('details[data-language]')) {
  // Browsers without exclusive details would leave the code in the first language open.
  if (language && document.querySelector(`details[data-language="${CSS.escape(language)}"]`)) {
    details.open = details.dataset.language === language;
  }
}

// A click on a summary, also one by keyboard, comes before the change: a closed element opens. The event "toggle" would also
// report the elements that are open at first.
document.addEventListener('click', (event) => {
  const details = event.target.closest?.('details[data-language] > summary')?.parentElement;
  if (details && !details.open) remember(details.dataset.language);
});

// The texts of the scripts in the page's language. The page has them in an attribute, unless its texts are those of the scripts.

const texts = JSON.parse(document.documentElement.dataset.texts ?? '{}');

/// Returns a text in the page's language, with values in the places of {name}.
globalThis.translated = (english, values = {}) => {
  const text = texts[english] ?? english;
  return text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
};

/// The locale of times: the page's language, or the browser's languages on an English page.
const tag = document.documentElement.lang;
try {
  globalThis.pageLocale = tag === 'en' ? undefined : Intl.getCanonicalLocales(tag)[0];
} catch {
  // The browser does not know the tag of the language file.
  globalThis.pageLocale = undefined;
}

// Submits a form marked data-submit as soon as the page is shown.

document.querySelector('form[data-submit]')?.submit();

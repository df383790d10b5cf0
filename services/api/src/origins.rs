//! The origins of pages that may show the dashboard in a frame, as an operator lists them in the settings.

use std::str::FromStr;

use postrider_settings::cut;
use url::Url;

/// Origins such as `https://app.example.com` or `https://*.example.org`, parsed from a comma-separated list. They become the
/// sources of `frame-ancestors` in the content security policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(pub Vec<String>);

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let mut origins = parts.map(origin).collect::<Result<Vec<_>, _>>()?;
        origins.sort_unstable();
        origins.dedup();
        Ok(Self(origins))
    }
}

/// Parses one origin and returns its shortest form, without a default port or a final slash.
fn origin(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "`{}` is not an origin: scheme, host and port only, such as https://app.example.com, https://*.example.com or \
             http://localhost:3000",
            cut(text)
        )
    };
    // The asterisk of a wildcard is not part of a host name, so the URL is parsed without it.
    let (plain, wildcard) = match text.split_once("://*.") {
        Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
        None => (text.to_owned(), false),
    };
    let url = Url::parse(&plain).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let host = url.host_str().unwrap_or_default();
    let named = host.contains('.') && !host.ends_with('.') && !host.contains('*') && url.domain().is_some();
    if !bare || url.password().is_some() || !matches!(url.scheme(), "http" | "https") || host.contains('*') {
        return Err(wrong());
    }
    if wildcard && !named {
        return Err(format!("`{}` would allow a whole top-level domain or an address; name a domain", cut(text)));
    }
    let origin = url.origin().ascii_serialization();
    Ok(if wildcard { origin.replacen("://", "://*.", 1) } else { origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_in_their_shortest_form() {
        let read = |text: &str| text.parse::<Origins>().map(|origins| origins.0);
        assert_eq!(read(" "), Ok(vec![]));
        assert_eq!(
            read(
                "https://App.Example.com:443/, https://*.example.org:8443,http://localhost:3000,https://app.example.com"
            ),
            Ok(["http://localhost:3000", "https://*.example.org:8443", "https://app.example.com"]
                .map(String::from)
                .into())
        );
        for bad in [
            "*",
            "https://*",
            "https://*.com",
            "https://*.10.0.0.1",
            "https://a.*.com",
            "app.example.com",
            "https://app.example.com/page",
            "https://app.example.com?x",
            "https://user@app.example.com",
            "ftp://app.example.com",
            "'self'",
            "https://a.example; script-src *",
        ] {
            let refused = read(bad).unwrap_err();
            assert!(refused.contains("is not an origin") || refused.contains("name a domain"), "{bad}: {refused}");
        }
    }
}

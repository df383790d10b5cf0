//! The style sheet, the scripts and the icon, which are part of the binary. The address of a file contains a hash of its content,
//! so that a browser may cache the file without a time limit.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The header of a file whose name contains a hash of its content.
pub(crate) const CACHED: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));

/// The name of a file with this content: `<stem>.<hash>.<extension>`.
pub(crate) fn file_name(stem: &str, extension: &str, content: &[u8]) -> String {
    format!("{stem}.{}.{extension}", hex::encode(&Sha256::digest(content)[..8]))
}

/// A file of the dashboard.
pub(super) struct Asset {
    /// `style.<hash>.css`
    file: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        Self { file: file_name(stem, extension, content.as_bytes()), content_type, content }
    }

    fn script(stem: &str, content: &'static str) -> Self {
        Self::new(stem, "js", "text/javascript; charset=utf-8", content)
    }

    /// The address of the file.
    pub(super) fn href(&self) -> String {
        format!("/dashboard/assets/{}", self.file)
    }
}

/// The style sheet of every page.
pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("assets/style.css")));

/// The icon of the browser's tab.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// The scripts. Each script is a separate module, and every page loads all of them.
pub(super) static SCRIPTS: LazyLock<[Asset; 14]> = LazyLock::new(|| {
    [
        // The first module: the others use its functions.
        Asset::script("text", include_str!("assets/text.js")),
        Asset::script("time", include_str!("assets/time.js")),
        Asset::script("live", include_str!("assets/live.js")),
        Asset::script("zone", include_str!("assets/zone.js")),
        Asset::script("keys", include_str!("assets/keys.js")),
        Asset::script("copy", include_str!("assets/copy.js")),
        Asset::script("select", include_str!("assets/select.js")),
        Asset::script("pick", include_str!("assets/pick.js")),
        Asset::script("offline", include_str!("assets/offline.js")),
        Asset::script("chart", include_str!("assets/chart.js")),
        Asset::script("submit", include_str!("assets/submit.js")),
        Asset::script("busy", include_str!("assets/busy.js")),
        Asset::script("sample", include_str!("assets/sample.js")),
        Asset::script("language", include_str!("assets/language.js")),
    ]
});

/// `GET /dashboard/assets/{file}`
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let all = [&*STYLE, &*ICON].into_iter().chain(SCRIPTS.iter());
    let Some(asset) = all.into_iter().find(|asset| asset.file == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    ([content_type, CACHED], asset.content).into_response()
}

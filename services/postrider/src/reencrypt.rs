//! `postrider reencrypt`: encrypts every secret with the first master key.

use std::process::ExitCode;

use postrider_settings::CheckSettings;

use crate::cli::ReencryptArgs;
use crate::wiring;

/// Encrypts every secret with the first master key. For each other key, prints how many values were encrypted with it before
/// this run.
pub(crate) async fn run(args: &ReencryptArgs) -> anyhow::Result<ExitCode> {
    args.database.check()?;
    args.master_keys.check()?;
    crate::install_crypto();
    let done = wiring::store(&args.database, Some(&args.master_keys))?.config().reseal().await?;
    let mut lines =
        vec![format!("{} endpoints; {} values were sealed by the first key already", done.endpoints, done.kept)];
    lines
        .extend(done.resealed.iter().map(|(key, values)| format!("{values} values sealed by {key} were sealed again")));
    if done.resealed.is_empty() {
        lines.push("no other key is needed any more".into());
    } else {
        lines.push("other keys can be dropped once every service was restarted with the first key first".into());
    }
    crate::print(&lines.join("\n"))
}

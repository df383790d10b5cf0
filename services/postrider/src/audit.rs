//! `postrider audit`: checks that no accepted event is missing in the history, and reports the gaps.

use std::process::ExitCode;

use postrider_ledger::audit::{AuditOptions, AuditReport, GAPS_NAMED_MAX, Standing};
use postrider_settings::CheckSettings;

use crate::cli::AuditArgs;
use crate::wiring;

/// Exit code if rows are missing.
const GAPS: u8 = 1;
/// Exit code if the audit failed.
const UNKNOWN: u8 = 2;

/// Runs an audit and prints the report. The exit code is 0 if nothing is missing, 1 if something is missing, and 2 if the audit
/// failed.
pub(crate) async fn run(args: &AuditArgs) -> ExitCode {
    match audit(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(GAPS),
        Err(error) => {
            crate::fail(&error);
            ExitCode::from(UNKNOWN)
        }
    }
}

async fn audit(args: &AuditArgs) -> anyhow::Result<bool> {
    args.database.check()?;
    crate::install_crypto();
    let options = AuditOptions { days: args.days, recheck_after: args.recheck_after };
    let report = postrider_ledger::audit::run(&wiring::store(&args.database, None)?, &options).await?;
    crate::print(&if args.json { serde_json::to_string_pretty(&report)? } else { table(&report) })?;
    Ok(report.conserved)
}

/// Returns the report as text.
fn table(report: &AuditReport) -> String {
    let days: Vec<String> = report.days.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!("audit of {} ({} ms)", days.join(", "), report.took_ms)];
    for day in &report.tenants {
        let mark = if day.conserved { "" } else { "   <-- DOES NOT HOLD" };
        lines.push(format!("\n{}  {}{mark}", day.day, day.tenant));
        lines.push(format!("  accepted {} = decided {} + undecided {}", day.accepted, day.decided, day.undecided));
        lines.push(format!("  matched {} = {}", day.matched, standing(&day.standing)));
        let requested = &day.requested;
        let asked = requested.retries + requested.replays + requested.tests;
        if asked > 0 {
            let by = format!("retries {}, replays {}, tests {}", requested.retries, requested.replays, requested.tests);
            lines.push(format!("  requested {asked} ({by}) = {}", standing(&requested.standing)));
        }
        if day.on_the_way > 0 {
            lines.push(format!("  not counted, on the way: {}", day.on_the_way));
        }
    }
    if !report.instances.is_empty() {
        lines.push("\ningest processes (numbers settled = recorded + given up or repeated + missing):".into());
    }
    for of in &report.instances {
        lines.push(format!(
            "  {:016x}  {} to {} = {} + {} + {}",
            of.instance, of.from, of.settled_below, of.recorded, of.excused, of.missing
        ));
    }
    if report.gaps_total > 0 {
        lines.push(format!("\nmissing: {}", report.gaps_total));
        lines.extend(report.gaps.iter().map(|gap| format!("  {}", serde_json::json!(gap))));
        if report.gaps.len() == GAPS_NAMED_MAX {
            lines.push("  ...".into());
        }
    }
    lines.push(if report.conserved { "\nconserved".into() } else { "\nNOT CONSERVED".into() });
    lines.join("\n")
}

fn standing(standing: &Standing) -> String {
    format!(
        "delivered {} + failed {} + cancelled {} + discarded {} + pending {}",
        standing.delivered, standing.failed, standing.cancelled, standing.discarded, standing.pending
    )
}

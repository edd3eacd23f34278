//! The report for CI systems, in the format of JUnit.

use super::super::paint::Paint;
use super::Played;
use super::gather::Kit;
use super::show;
use callbox_sim::scenario::transcript;
use miette::{IntoDiagnostic, WrapErr};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::path::Path;

/// Writes the report.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(path: &Path, kits: &[Kit], all: &[Played]) -> miette::Result<()> {
    let xml = report(kits, all).to_string().into_diagnostic()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
    }
    std::fs::write(path, xml).into_diagnostic().wrap_err_with(|| path.display().to_string())
}

fn report(kits: &[Kit], all: &[Played]) -> Report {
    let mut report = Report::new("callbox script test");
    for (index, kit) in kits.iter().enumerate() {
        let mut suite = TestSuite::new(kit.suite.file.as_str());
        for played in all.iter().filter(|played| played.suite == index) {
            suite.add_test_case(case(kit, played));
        }
        if suite.tests > 0 {
            report.add_test_suite(suite);
        }
    }
    report
}

fn case(kit: &Kit, played: &Played) -> TestCase {
    let status = match &played.verdict.failure {
        None => TestCaseStatus::success(),
        Some(failure) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let place = failure.place;
            let text = show::failure(&kit.suite, &kit.text, played, Paint::plain());
            status
                .set_message(format!("{}:{}: {}", kit.suite.file, place.line, failure.message))
                .set_type("scenario")
                .set_description(text.trim_start());
            status
        }
    };
    let mut case = TestCase::new(played.run.name.as_str(), status);
    case.set_classname(kit.suite.file.as_str()).set_time(played.took);
    case.extra.insert("file".into(), kit.suite.file.as_str().into());
    case.extra.insert("line".into(), played.run.place.line.to_string().as_str().into());
    if played.verdict.failure.is_some() {
        let lines = transcript(&played.verdict.told.sights);
        let said: Vec<_> = lines
            .iter()
            .map(|line| format!("{} {}: {}", show::clock(line.at), line.speaker.word(), line.text))
            .collect();
        case.set_system_out(said.join("\n"));
    }
    case
}

//! What `tools verify` prints, and the same in `verdict.json` for `tools compare`.

use std::fs;
use std::io;
use std::path::Path;

use wire::committee::Committee;

use super::{Judgement, Verdict};
use crate::json::Json;

/// The file of a verdict in the log directory.
pub(crate) const VERDICT: &str = "verdict.json";

impl Verdict {
    /// For people.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![format!("{} rounds, {} transactions finished", self.rounds, self.finished)];
        lines.extend(self.answers().iter().map(|(name, answer)| format!("  {name:<16} {answer}")));
        let details = self.remarks.iter().chain(&self.unrest).chain(&self.findings);
        lines.extend(details.map(|text| format!("  {text}")));
        if self.findings_count > self.findings.len() as u64 {
            lines.push(format!("  and {} more", self.findings_count - self.findings.len() as u64));
        }
        lines.join("\n")
    }

    /// Writes the verdict beside the files of the run.
    pub(super) fn save(&self, log: &Path, committee: &Committee) -> io::Result<()> {
        fs::write(log.join(VERDICT), format!("{}\n", self.to_json(committee)))
    }

    /// For programs; the answers are called as in `summary.json`.
    pub(super) fn to_json(&self, committee: &Committee) -> Json {
        let texts = |texts: &[String]| Json::List(texts.iter().map(Json::text).collect());
        let answers = self.answers();
        let missing = answers.iter().filter(|(_, answer)| matches!(answer, Judgement::NotJudged(_)));
        let missing: Vec<String> = missing.map(|(name, answer)| format!("{name} {answer}")).collect();
        Json::object([
            ("testbed", Json::text(committee.testbed().to_string())),
            ("agreement", self.agreement.to_json()),
            ("value_conserved", self.value_conserved.to_json()),
            ("exchange_holds", self.exchange_holds.to_json()),
            ("receipts_hold", self.receipts_hold.to_json()),
            ("not_judged", texts(&missing)),
            ("findings", texts(&self.findings)),
            ("remarks", texts(&self.remarks)),
            ("is_clean", Json::from(self.is_clean())),
        ])
    }
}

//! What the laws ask for that the map does not have, and on what they rest.

use std::collections::BTreeSet;

use crate::lint::Check;
use crate::{Constraint, HomeFor, Rule, Sector, Statute, Verified};

impl Check<'_> {
    pub(super) fn laws(&self) {
        let declared: BTreeSet<&Sector> = self.map.tenants().flat_map(|t| t.sectors()).collect();
        for (n, statute) in self.map.statutes().iter().enumerate() {
            let mut scopes = statute.pack().scopes().iter();
            let unused = scopes.all(|scope| {
                let sectors = scope.sectors();
                !sectors.is_empty() && !sectors.iter().any(|sector| declared.contains(sector))
            });
            if unused {
                let all: Vec<&str> = statute.pack().sectors().map(Sector::as_str).collect();
                let (id, all) = (statute.id(), all.join(", "));
                let problem = format!("`{id}` is for the sectors {all}, which no tenant declares");
                let help = "declare the sectors of your tenants, or leave the law out";
                self.note(&self.places.statutes, n, "STATUTE_UNUSED", problem, help);
            }
            self.hidden(n, statute);
            if statute.pack().in_force(self.day) {
                self.home(n, statute);
                self.draft(n, statute);
                self.copies(n, statute);
                if !self.is_reviewed(n, statute) {
                    self.unverified(n, statute);
                }
            }
        }
        self.sectors();
        for (n, area) in self.map.disputed().iter().enumerate() {
            if area.decided().is_empty() {
                let problem = format!("`{}` has no decision", area.name());
                let help = "decide it, or accept that evidence from there is refused";
                self.note(&self.places.disputed, n, "DISPUTED_OPEN", problem, help);
            }
        }
    }

    /// A law that will put people into its territory, where there is no home for them.
    fn home(&self, n: usize, statute: &Statute) {
        let Some(constraint) = statute.puts() else { return };
        let territory = statute.jurisdiction();
        if self.map.home(HomeFor::Territory(territory)).is_none() {
            let id = statute.id();
            let problem =
                format!("`{id}` ({constraint}) asks for a home of {territory}, and there is none");
            let help = format!("name a region in {territory}, or go on refusing its people");
            self.note(&self.places.statutes, n, "HOME_MISSING", problem, help);
        }
    }

    fn draft(&self, n: usize, statute: &Statute) {
        if let Some(because) = statute.pack().draft() {
            let problem = format!("`{}` is in force as a draft: {because}", statute.id());
            let help = "have a lawyer check it";
            self.note(&self.places.statutes, n, "DRAFT_IN_FORCE", problem, help);
        }
    }

    /// A pack whose text is not what it looks like: the map names its digest, which people sign.
    fn hidden(&self, n: usize, statute: &Statute) {
        let text = statute.pack().text().replace("\r\n", "\n");
        if let Some(c) = text.chars().find(|c| terms::is_hidden(*c)) {
            let (id, c) = (statute.id(), u32::from(c));
            let problem = format!("the pack `{id}` holds U+{c:04X}, which is invisible");
            let help = "take it out: it can make a line read otherwise than it is";
            self.note(&self.places.statutes, n, "HIDDEN_CHARACTER", problem, help);
        }
    }

    /// A law in force that asks for copies, of which this program makes some.
    fn copies(&self, n: usize, statute: &Statute) {
        if statute.constraints().contains(&Constraint::Mirror) {
            let (id, territory) = (statute.id(), statute.jurisdiction());
            let problem = format!(
                "`{id}` asks for a copy in {territory}, and no copy is made of an attachment: one whose \
                 record lies elsewhere has none there"
            );
            let help =
                "store as records what the law covers, or name a home that puts these people there";
            self.note(&self.places.statutes, n, "ATTACHMENTS_NOT_COPIED", problem, help);
        }
    }

    /// Whether a person has reviewed the text of the pack that is in force. Reports a review of
    /// another text.
    fn is_reviewed(&self, n: usize, statute: &Statute) -> bool {
        let Some(review) = statute.reviewed() else { return false };
        let current = review.digest == *statute.pack().digest();
        if !current {
            let id = statute.id();
            let problem = format!("the review of `{id}` is of another text of the pack");
            let help = "compare the pack with the law again, then write its digest into `reviewed`";
            self.note(&self.places.statutes, n, "REVIEW_STALE", problem, help);
        }
        current && self.day >= review.on
    }

    /// A law in force that rests on statements that its sources do not show.
    fn unverified(&self, n: usize, statute: &Statute) {
        let rules = statute.pack().rules().iter().filter(|rule| rule.in_force(self.day));
        // How the pack reads the law is no claim about it: the pack's page says it apart.
        let doubtful = |rule: &&Rule| rule.verified.is_of_law() && rule.verified != Verified::Seen;
        let doubtful: Vec<_> = rules.filter(doubtful).collect();
        let Some(first) = doubtful.first() else { return };
        let counts = Verified::ALL.iter().filter_map(|verified| {
            let count = doubtful.iter().filter(|rule| rule.verified == *verified).count();
            (count > 0).then(|| format!("{count} {verified}"))
        });
        let (id, counts) = (statute.id(), counts.collect::<Vec<_>>().join(", "));
        let problem =
            format!("`{id}` rests on what is not verified ({counts}), such as: {}", first.says);
        let help = "check it against the law itself, then name the person, the day and the digest of \
             the pack in `reviewed`";
        self.note(&self.places.statutes, n, "STATUTE_UNVERIFIED", problem, help);
    }

    /// Sectors that a tenant declares and no law asks for: misspelt ones keep a law from attaching.
    fn sectors(&self) {
        let asked: BTreeSet<&Sector> =
            self.map.statutes().iter().flat_map(|statute| statute.pack().sectors()).collect();
        for (n, tenant) in self.map.tenants().enumerate() {
            for sector in tenant.sectors().iter().filter(|sector| !asked.contains(sector)) {
                let problem = format!("no statute of the map is for the sector `{sector}`");
                let help = match asked.first() {
                    None => "leave it out, or put the law in force that asks for it".to_owned(),
                    Some(_) => crate::toml::one_of(&asked),
                };
                self.note(&self.places.tenants, n, "SECTOR_UNUSED", problem, help);
            }
        }
    }
}

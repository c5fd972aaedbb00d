//! Through which gateways a command may come in that brings no evidence about its subject. It is asked
//! before anything of the subject is told: that there is one, too.

use atlas::Barred;
use terms::{Collection, Rejection};

use crate::policy::asker::Asker;
use crate::policy::ingress::{barred_of_absent, wrong};
use crate::policy::rulings::Verdict;
use crate::store::keys::Owner;
use crate::store::subject::Subject;
use crate::write::transaction::{Known, Transaction};

impl Transaction<'_> {
    /// Whether a command about a subject may come in through the asker's gateway: by the rulings that
    /// stand, and for a subject that is not here by the laws of the place. Where these bar the gateway,
    /// the answer is the same whether there is such a subject or not. `collection`: None: it is about
    /// all of them. `evidence`: it may create the subject, and is then judged by its evidence.
    ///
    /// The shard's own commands, and those through a gateway in its territory, are let in: they bring no
    /// record, or are ruled later.
    pub(crate) fn lets_in(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        collection: Option<&Collection>,
        evidence: bool,
    ) -> Result<(), Rejection> {
        let (node, gateway) = (self.node, asker.stands.gateway);
        if gateway == node.territory {
            return Ok(());
        }
        let barred = match self.known_subject(owner) {
            Ok(None) if evidence => None,
            Ok(Some(Known::Kept(subject))) => self.barred(asker, owner, collection, &subject),
            Ok(_) | Err(_) => barred_of_absent(node, collection, gateway),
        };
        let Some(barred) = barred else { return Ok(()) };
        let absent = barred_of_absent(node, collection, gateway);
        Err(wrong(node, &absent.unwrap_or(barred), gateway))
    }

    /// The laws that bar the gateway from what is known of a subject.
    fn barred(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        collection: Option<&Collection>,
        subject: &Subject,
    ) -> Option<Barred> {
        let (node, gateway) = (self.node, asker.stands.gateway);
        let of_standing = subject.standings().iter().map(|it| (&it.collection, &it.basis));
        let bases: Vec<_> = match collection {
            // The first of its collection rests on all that is known.
            Some(name) => {
                let standing = subject.standing(name);
                vec![(name, standing.map_or(&subject.findings, |standing| &standing.basis))]
            }
            None => of_standing.collect(),
        };
        if bases.is_empty() {
            return barred_of_absent(node, collection, gateway);
        }
        bases.into_iter().find_map(|(name, basis)| {
            let chosen = subject.choice.chosen.as_ref();
            match self.rules.decide_stored(&owner.tenant, name, basis, chosen) {
                Verdict::Here(ruled) => atlas::ingress(&ruled.attachments, Some(gateway)).err(),
                // Which laws attach is not said: those of the place decide.
                Verdict::Elsewhere(_) | Verdict::Refused(_) => {
                    barred_of_absent(node, Some(name), gateway)
                }
            }
        })
    }
}

//! What may happen next.

use super::{Flaw, Known, Mover, Source, State, Step, Target};

impl Mover {
    /// What callers ask for.
    pub(super) fn call(&self, after: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Order => {
                let dropping = !after.copies.is_empty();
                if after.source != Source::Live || dropping || after.orders == self.orders {
                    return None;
                }
                after.orders += 1;
                after.source = Source::Moving(after.orders);
                (after.known, after.waits) = (Known::Nothing, None);
            }
            Step::GiveUp => match after.source {
                Source::Moving(of) => after.give_up(of),
                Source::Left(of, _) if self.flaw == Some(Flaw::GivenUpLate) => after.give_up(of),
                Source::Live
                | Source::Left(..)
                | Source::Gone
                | Source::Erasing
                | Source::Erased => return None,
            },
            Step::Write => {
                let copied = matches!(after.source, Source::Moving(_))
                    && self.flaw == Some(Flaw::WrittenWhileCopied);
                let serves = after.source == Source::Live || copied;
                if !serves || after.acknowledged == self.writes {
                    return None;
                }
                after.source_writes += 1;
                after.acknowledged += 1;
            }
            Step::WriteThere => {
                let Target::Live { writes, .. } = &mut after.target else { return None };
                if after.acknowledged == self.writes {
                    return None;
                }
                *writes += 1;
                after.acknowledged += 1;
            }
            Step::Erase if after.source == Source::Live && !after.restored => {
                after.erase(self.flaw)
            }
            Step::EraseThere if matches!(after.target, Target::Live { .. }) => {
                (after.target, after.erased_there) = (Target::Erased, true);
            }
            Step::Erase | Step::EraseThere | Step::Ask | Step::Arrive(..) | Step::Commit => {
                return None;
            }
            Step::Crash | Step::MapChanges | Step::Lose | Step::Forget => return None,
        }
        Some(())
    }

    /// What the source's driver does, and the target.
    pub(super) fn drive(&self, after: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Ask => {
                if after.waits.is_some() {
                    return None;
                }
                let ask = after.next(self)?;
                after.sent.insert(ask);
                after.waits = Some(ask);
            }
            Step::Arrive(ask, answered) => {
                let known = after.arrive(ask, self);
                if answered {
                    if after.waits != Some(ask) {
                        return None;
                    }
                    // A copy that differs is given up.
                    let differs = matches!(known, Known::Checked(n) if n != after.source_writes);
                    let known = if differs { Known::Refused } else { known };
                    (after.waits, after.known) = (None, known);
                }
            }
            Step::Commit => after.commit()?,
            Step::Order | Step::GiveUp | Step::Write | Step::WriteThere => return None,
            Step::Erase | Step::EraseThere => return None,
            Step::Crash | Step::MapChanges | Step::Lose | Step::Forget => return None,
        }
        Some(())
    }

    /// What happens to either.
    pub(super) fn mishap(&self, after: &mut State, step: Step) -> Option<()> {
        let may = self.restores && !after.restored;
        match step {
            Step::Crash => (after.waits, after.known) = (None, Known::Nothing),
            Step::MapChanges if after.changes < self.changes => {
                after.changes += 1;
                after.allowed = !after.allowed;
            }
            // Of one whose source has erased it, no more than the backup would come back.
            Step::Lose if may && after.source != Source::Gone => {
                match after.target {
                    Target::Arriving { .. } => {}
                    Target::Live { of, .. } => {
                        // What was acknowledged after the backup is lost, as always.
                        after.acknowledged = after.source_writes;
                        after.adopted.remove(&of);
                        (after.waits, after.known) = (None, Known::Nothing);
                    }
                    Target::Erased => {
                        // The file of erasures outlives the store.
                        let taken = after.adopted.pop_last();
                        let forgets = [Flaw::TakenForgotten, Flaw::ErasureForgotten];
                        let knows = !self.flaw.is_some_and(|flaw| forgets.contains(&flaw));
                        after.lost = taken.filter(|_| knows);
                        (after.waits, after.known) = (None, Known::Nothing);
                    }
                    Target::Nothing => return None,
                }
                after.restored = true;
                if after.target != Target::Erased || self.flaw == Some(Flaw::ErasureForgotten) {
                    after.target = Target::Nothing;
                }
            }
            // A later order settles what the target has of this one.
            Step::Forget if may && after.orders < self.orders => {
                let Source::Moving(_) = after.source else { return None };
                (after.restored, after.source) = (true, Source::Live);
                // Its sessions have ended, and what was on its way in them.
                after.sent.clear();
                (after.waits, after.known) = (None, Known::Nothing);
            }
            Step::MapChanges | Step::Lose | Step::Forget | Step::Erase | Step::EraseThere => {
                return None;
            }
            Step::Order | Step::GiveUp | Step::Write | Step::WriteThere => return None,
            Step::Ask | Step::Arrive(..) | Step::Commit => return None,
        }
        Some(())
    }
}

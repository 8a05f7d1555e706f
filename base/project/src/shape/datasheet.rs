//! The datasheet of a dataset: the questions of Gebru et al., "Datasheets for Datasets" (2021), by their seven
//! parts, each under a short name that answers stand at.

use super::{Form, Key, Shape, key};

const fn ask(name: &'static str, question: &'static str) -> Key {
    key(name, Form::Text, question)
}

const fn part(noun: &'static str, keys: &'static [Key]) -> Shape {
    Shape { noun, keys, rules: &[] }
}

/// All seven parts.
pub static DATASHEET: Shape = Shape {
    noun: "a datasheet",
    keys: &[
        key("motivation", Form::Object(&MOTIVATION), "Why the dataset was made."),
        key("composition", Form::Object(&COMPOSITION), "What it is made of."),
        key("collection", Form::Object(&COLLECTION), "How it was collected."),
        key("preprocessing", Form::Object(&PREPROCESSING), "What was done to it before use."),
        key("uses", Form::Object(&USES), "What it is for, and what it is not for."),
        key("distribution", Form::Object(&DISTRIBUTION), "Who gets it, on what terms."),
        key("maintenance", Form::Object(&MAINTENANCE), "Who looks after it."),
    ],
    rules: &[],
};

static MOTIVATION: Shape = part(
    "a motivation",
    &[
        ask("purpose", "For what purpose was it made: which task, which gap."),
        ask("creators", "Who made it, on behalf of whom."),
        ask("funding", "Who paid for it."),
    ],
);

static COMPOSITION: Shape = part(
    "a composition",
    &[
        ask(
            "instances",
            "What an instance stands for: a flight, a person, a picture; are there several kinds.",
        ),
        ask("count", "How many instances there are, of each kind."),
        ask("sample", "Whether it is everything or a sample, of what, and whether it represents it."),
        ask("features", "What each instance consists of: raw data or features."),
        ask("labels", "Whether there is a label or target for each instance."),
        ask("missing", "Whether information is missing from instances, and why."),
        ask("relations", "Whether relations between instances are made explicit."),
        ask("splits", "Which splits are recommended, and why."),
        ask("errors", "Which errors, sources of noise or redundancies there are."),
        ask(
            "external",
            "Whether it stands alone or rests on something outside, and for how long that lasts.",
        ),
        ask("confidential", "Whether it holds anything confidential."),
        ask("offensive", "Whether it holds anything that might offend, threaten or frighten."),
        ask("subpopulations", "Which groups of people it identifies, and how they are distributed."),
        ask("identifiable", "Whether people can be identified from it, directly or not."),
        ask("sensitive", "Whether it holds what is sensitive: origin, beliefs, health, money, place."),
    ],
);

static COLLECTION: Shape = part(
    "a collection",
    &[
        ask("acquisition", "How the data of each instance were acquired: observed, reported, derived."),
        ask("mechanisms", "By which mechanisms: sensors, people, programs; how they were validated."),
        ask("sampling", "Of a sample, the strategy by which it was drawn."),
        ask("collectors", "Who collected it, and how they were paid."),
        ask("timeframe", "Over what time it was collected, and whether that is when the data arose."),
        ask("ethical_review", "Which ethical reviews were held, and what came of them."),
        ask("directly", "Whether it was collected from the people themselves or by way of others."),
        ask("notice", "Whether the people were told, and how."),
        ask("consent", "Whether the people consented, and how."),
        ask("revocation", "How consent can be taken back."),
        ask("impact_analysis", "Whether the effect on the people was analysed."),
    ],
);

static PREPROCESSING: Shape = part(
    "a preprocessing",
    &[
        ask("steps", "What was done: cleaning, labelling, leaving out, filling in."),
        ask("raw", "Whether the raw data were kept, and where."),
        ask("software", "Whether the software that did it is available."),
    ],
);

static USES: Shape = part(
    "a mapping of uses",
    &[
        ask("used_for", "What it has been used for already."),
        ask("repository", "Where to find what uses it."),
        ask("other_tasks", "What else it could be used for."),
        ask("impact", "What of its making might affect later uses, and how harm can be avoided."),
        ask("not_for", "What it should not be used for."),
    ],
);

static DISTRIBUTION: Shape = part(
    "a distribution",
    &[
        ask("recipients", "Whether it is given to others, and to whom."),
        ask("how", "How it is given: an archive, an interface; whether it has a DOI."),
        ask("when", "When it is given."),
        ask("licence", "Under which licence or terms."),
        ask("third_party", "Which restrictions others have put on it."),
        ask("export", "Which export controls or other rules apply."),
    ],
);

static MAINTENANCE: Shape = part(
    "a maintenance",
    &[
        ask("maintainer", "Who looks after it."),
        ask("contact", "How they can be reached."),
        ask("erratum", "Whether there is a list of errors."),
        ask("updates", "Whether and how often it is updated, by whom."),
        ask("retention", "Of data on people, how long they may be kept."),
        ask("older_versions", "Whether older versions are kept."),
        ask("contributions", "How others can extend it."),
    ],
);

/// The questions of a part.
pub fn questions(part: &Key) -> &'static [Key] {
    match part.form {
        Form::Object(shape) => shape.keys,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_seven_parts_and_fifty_questions() {
        assert_eq!(DATASHEET.keys.len(), 7);
        assert_eq!(DATASHEET.keys.iter().map(|part| questions(part).len()).sum::<usize>(), 50);
    }
}

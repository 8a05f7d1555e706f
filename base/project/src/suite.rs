//! Suites of checks in files of their own: where the rules stand in them. What a rule means is not known here.

use crate::yaml::Node;

/// The rules of a suite's file: the list that it is, or the one under `checks:`, or, as Great Expectations
/// writes it, under `expectations:`.
pub fn rules(root: &Node) -> Option<&[Node]> {
    root.list().or_else(|| root.get("checks").or_else(|| root.get("expectations"))?.list())
}

#[cfg(test)]
mod tests {
    use super::rules;
    use crate::yaml::parse;

    #[test]
    fn a_suite_is_a_list_by_itself_or_under_one_of_two_keys() {
        let count = |text: &str| parse(text).root.as_ref().and_then(rules).map(<[_]>::len);
        assert_eq!(count("- { rows: { min: 1 } }\n- { column: a, unique: true }\n"), Some(2));
        assert_eq!(count("checks: [{ rows: { min: 1 } }]\n"), Some(1));
        assert_eq!(count(r#"{"name": "s", "expectations": []}"#), Some(0));
        assert_eq!((count("a: 1"), count("checks: 3"), count("text")), (None, None, None));
    }
}

//! What must not compile: a placement that no ruling gave, or one that is bent afterwards.

#[test]
fn a_placement_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

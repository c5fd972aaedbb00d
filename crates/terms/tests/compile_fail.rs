//! What must not compile: personal data in a text, and details that nobody declared.

#[test]
fn personal_data_cannot_be_written_and_details_are_closed() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

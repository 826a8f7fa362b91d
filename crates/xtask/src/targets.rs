//! The list of everything that is generated. To add something, add a line to [`all`].

use crate::generate::Target;

/// Every generated file, section and folder, in the order in which they are written.
///
/// ```text
/// Target::file("docs/page.md", || page())                     a whole file
/// Target::section("README.md", "variables", || table())       between <!-- generated:variables --> and <!-- /generated:variables -->
/// Target::folder("docs/schema", || vec![(name, text), …])     a folder in which nothing else may stand
/// ```
pub(crate) fn all() -> Vec<Target> {
    vec![]
}

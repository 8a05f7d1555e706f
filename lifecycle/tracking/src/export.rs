//! Writing a store out in the forms of other programs.

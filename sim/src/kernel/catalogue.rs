//! Catalogues: every kind of something in one list, with its name and one line of meaning.
//!
//! A kind that is only an enum variant can be forgotten in a report, a file format or a matrix. The macro `catalogue!`
//! makes the enum and all of its tables from one list, so no kind can lack its line.

use std::fmt;

/// A kind that a catalogue lists.
pub trait Kind: Copy + Ord + fmt::Debug + fmt::Display + 'static {
    /// All kinds, in the order of their [`index`](Self::index).
    const ALL: &'static [Self];

    /// The place in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// The name in files and reports.
    fn name(self) -> &'static str;

    /// What it means, in one line.
    fn meaning(self) -> &'static str;

    /// The kind of this name.
    #[must_use]
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// All names, for an error that says what is known.
    #[must_use]
    fn names() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
        names.join(", ")
    }
}

/// Makes an enum of kinds: `Variant "name" "what it means";` for each, and with `in Scope` also what it
/// strikes and the keys that it takes in a file: `Variant "name" Scope ["key"] "what it means";`.
macro_rules! catalogue {
    (
        $(#[$doc:meta])*
        $vis:vis enum $kind:ident in $scope:ident {
            $($variant:ident $name:literal $in:ident [$($key:literal),*] $meaning:literal;)*
        }
    ) => {
        $crate::kernel::catalogue::catalogue! {
            $(#[$doc])*
            $vis enum $kind { $($variant $name $meaning;)* }
        }

        impl $kind {
            /// What it strikes.
            #[must_use]
            $vis const fn scope(self) -> $scope {
                match self { $(Self::$variant => $scope::$in,)* }
            }

            /// The keys that it takes in a file, besides when it strikes.
            #[must_use]
            $vis const fn keys(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($key),*],)* }
            }
        }
    };
    (
        $(#[$doc:meta])*
        $vis:vis enum $kind:ident { $($variant:ident $name:literal $meaning:literal;)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $kind {
            $(#[doc = concat!($meaning, ".")] $variant,)*
        }

        impl $kind {
            /// All of them.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in files and reports.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, in one line.
            #[must_use]
            $vis const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }

        impl $crate::kernel::catalogue::Kind for $kind {
            const ALL: &'static [Self] = Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                Self::name(self)
            }

            fn meaning(self) -> &'static str {
                Self::meaning(self)
            }
        }

        impl ::std::fmt::Display for $kind {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

pub(crate) use catalogue;

#[cfg(test)]
mod tests {
    use super::Kind;

    catalogue! {
        /// For the test.
        enum Fruit {
            Apple "apple" "Grows on trees";
            Melon "melon" "Grows on the ground";
        }
    }

    #[test]
    fn a_kind_is_found_by_its_name_and_stands_at_its_index() {
        for (at, fruit) in Fruit::ALL.iter().enumerate() {
            assert_eq!((fruit.index(), Fruit::named(fruit.name())), (at, Some(*fruit)));
        }
        assert_eq!(Fruit::named("pear"), None);
        assert_eq!(Fruit::names(), "apple, melon");
        assert_eq!(format!("{:>7}", Fruit::Apple), "  apple");
        assert_eq!(Fruit::Melon.meaning(), "Grows on the ground");
    }
}

//! Loops over numbers, made twice: for every processor, and for those with wider vector registers, which
//! are asked for when the loop runs.
//!
//! The results are the same to the last bit: sums keep their eight lanes, nothing is fused or put into
//! another order. For functions that do nothing but run over slices.

/// Whether the wider form of a loop can run here.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_wide() -> bool {
    use std::arch::is_x86_feature_detected;
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

/// Makes a function in both forms.
macro_rules! wide {
    ($(#[$about:meta])* $seen:vis fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$about])*
        $seen fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn plain($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
                fn wider($($argument: $type),*) $(-> $result)? {
                    plain($($argument),*)
                }
                if $crate::profile::wide::is_wide() {
                    // SAFETY: the processor has these instructions, as it was just asked.
                    return unsafe { wider($($argument),*) };
                }
            }
            plain($($argument),*)
        }
    };
}

pub(super) use wide;

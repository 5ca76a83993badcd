//! A value that fits every template, to render templates that have no values yet.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

/// The text of a sample. No sentence has a blank in its key.
pub(super) const SAMPLE: &str = "sample value";

/// Has every attribute, each a sample again, and is a list of one sample or of none.
#[derive(Debug)]
pub(super) struct Sample {
    /// Whether conditions on it hold, and lists have an entry.
    is_there: bool,
}

impl Sample {
    pub(super) fn value(is_there: bool) -> Value {
        Value::from_object(Self { is_there })
    }
}

impl Object for Sample {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_dyn_object(Arc::clone(self)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let one = self
            .is_there
            .then(|| Value::from_dyn_object(Arc::clone(self)));
        Enumerator::Values(one.into_iter().collect())
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.is_there
    }

    // Compared by their entries, samples would have no end.
    fn custom_cmp(self: &Arc<Self>, _: &DynObject) -> Option<Ordering> {
        Some(Ordering::Equal)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SAMPLE)
    }
}

//! A mount that ends takes nothing along that was open.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaperone_fs::{ChangeRequest, Closed, Decides, Gate, OpenRequest, Opened, Opening, Refused, Tree};
use chaperone_quota::Quota;
use support::{Mount, O_RDWR};

const LONG: Duration = Duration::from_secs(20);

/// Lets everything through, and notes what was closed.
#[derive(Default)]
struct Noted(Mutex<Vec<(String, u64)>>);

impl Decides for Noted {
    fn change(&self, _: &ChangeRequest<'_>) -> Result<u64, Refused> {
        Ok(0)
    }
}

impl Gate for Noted {
    fn open(&self, _: OpenRequest) -> Opening {
        Opening::Now(Ok(Opened { handle: 0, bytes: None }))
    }

    fn changed(&self, _: &ChangeRequest<'_>, _: u64, _: bool) {}

    support::shows_every_name!();

    fn closed(&self, _: u64, closed: &Closed<'_>) {
        self.0.lock().unwrap().push((closed.path.to_owned(), closed.read + closed.written));
    }
}

#[test]
fn what_is_open_at_the_end_of_a_mount_is_told_once_with_its_bytes() {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("open"), "12345").unwrap();
    fs::write(docs.join("closed"), "123").unwrap();
    let root = File::open(&docs).unwrap().into();
    let tree = Arc::new(Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap());
    let noted = Arc::new(Noted::default());
    let mount = Mount::new(tree, Arc::clone(&noted) as Arc<dyn Gate>);
    let closed = mount.open("closed", 0).unwrap();
    mount.close(closed);
    let open = mount.open("open", O_RDWR).unwrap();
    mount.write(open, 0, b"123456", 0).unwrap();

    mount.end();
    mount.server.finish(LONG);
    mount.server.finish(LONG);

    let told = noted.0.lock().unwrap();
    assert_eq!(*told, [("closed".to_owned(), 0), ("open".to_owned(), 6)]);
}

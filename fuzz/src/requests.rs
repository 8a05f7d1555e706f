//! What clients send to the server.

use rondo_serving::onnx;
use rondo_store::meta::search::Room;
use rondo_tracking::filter;

/// A search's filter in each room, and the same text as an order.
pub fn filter(bytes: &[u8]) {
    super::text(bytes, |text| {
        for room in [Room::Runs, Room::Experiments] {
            let _condition = filter::parse(room, text);
            let _order = filter::order(room, &[text.to_owned()]);
        }
        let _traces = filter::traces::parse(text);
    });
}

/// A model file.
pub fn onnx(bytes: &[u8]) {
    let _model = onnx::parse(bytes);
    let _engine = rondo_serving::engine::load(bytes, &Default::default());
}

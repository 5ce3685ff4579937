// Lane j's v, of all lanes that are at work.
#repeat j LANES
fn shared_$j(v: Value) -> Value { return subgroupBroadcast(v, $ju); }
#end

// Lane j's v, of all lanes that are at work.
#repeat j LANES
fn shared_$j(v: vec4<f32>) -> vec4<f32> { return subgroupBroadcast(v, $ju); }
#end

// plugin: what the plug-in of these tests can do.
#pragma once

namespace cistern {
class synchronized_pool_resource;
}

extern "C" {
/// Makes one pool of each kind; uses them; destroys them.
void plugin_start();
void plugin_work();
void plugin_stop();
/// Uses a pool that somebody else has made.
void plugin_work_on(cistern::synchronized_pool_resource* pool);
/// An object of a pooled class.
void* plugin_make_order();
void plugin_delete_order(void* made);
cistern::synchronized_pool_resource* plugin_process_pool();
}

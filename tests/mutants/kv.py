# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in examples/kv: what moves when the pool shrinks."""

KV = ['tests/kv/kv_test']

MUTANTS = [
    ('kv-shard-moved-under-a-read-lock', KV, 'examples/kv/move.c',
     'a shard is moved while threads read its slots',
     '''	pthread_rwlock_wrlock(&shard->lock);
	if (shard->table.addr >= from)''',
     '''	pthread_rwlock_rdlock(&shard->lock);
	if (shard->table.addr >= from)''',
     'items_move_while_their_shard_is_locked_for_writing'),
    ('kv-moves-nothing', KV, 'examples/kv/move.c',
     'a store moves nothing, and the shrink waits for it',
     'shrink->error = kv_move(shrink->kv, shrink->from);',
     'shrink->error = 0;',
     'a_store_moves_itself_when_the_pool_shrinks'),
    ('kv-head-stays', KV, 'examples/kv/move.c',
     'the head stays in a segment that leaves',
     'if (kv->head.addr >= from)',
     'if (kv->head.addr >= from && 0)',
     'a_move_takes_the_head_and_all_tables'),
    ('kv-table-stays', KV, 'examples/kv/move.c',
     'the table of a shard stays in a segment that leaves',
     'if (shard->table.addr >= from)',
     'if (shard->table.addr >= from && 0)',
     'a_move_takes_the_head_and_all_tables'),
    ('kv-slot-keeps-its-word', KV, 'examples/kv/move.c',
     'a slot names the item that was freed',
     'op[1] = shard_set(shard, index, slot_encode(&to, slot_tag(word)));',
     'op[1] = shard_set(shard, index, word);',
     'a_store_moves_itself_when_the_pool_shrinks'),
    ('kv-moved-item-is-kept', KV, 'examples/kv/move.c',
     'the item stays live beside its copy',
     '''	ret = kv_publish(kv, op, 3);
	if (ret)
		item_cancel(kv->pool, &to);''',
     '''	ret = kv_publish(kv, op, 2);
	if (ret)
		item_cancel(kv->pool, &to);'''),
]

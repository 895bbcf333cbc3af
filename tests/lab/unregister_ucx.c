/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unregister_ucx [worker]: is ucp_mem_unmap() a barrier (docs/rdma.md R10)? Two
 * contexts of this process are a target and a peer, which puts 64 MiB. After a
 * sixteenth of it the target unmaps its memory handle, with `worker` also destroys its
 * worker, and counts what arrives later; then the peer puts with the old key.
 * UCX_TLS=tcp, shm or another selects the transport.
 */
#include <ucp/api/ucp.h>
#include "unregister.h"

#define MUST(call) must((call), #call)

struct side {
	ucp_context_h context;
	ucp_worker_h worker;
};

static struct side near, far;
static ucp_mem_h handle;
static ucp_ep_h endpoint;
static ucp_rkey_h key;
static ucs_status_ptr_t request;

static void must(ucs_status_t status, const char *call)
{
	require(status == UCS_OK, call, ucs_status_string(status));
}

static void open_side(struct side *side)
{
	const ucp_params_t params = {
		.field_mask = UCP_PARAM_FIELD_FEATURES,
		.features = UCP_FEATURE_RMA,
	};
	const ucp_worker_params_t worker_params = {
		.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
		.thread_mode = UCS_THREAD_MODE_SINGLE,
	};
	ucp_config_t *config;

	MUST(ucp_config_read(NULL, NULL, &config));
	MUST(ucp_init(&params, config, &side->context));
	ucp_config_release(config);
	MUST(ucp_worker_create(side->context, &worker_params, &side->worker));
}

static void failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
	(void)arg;
	(void)ep;
	(void)status; /* step() returns the status of the put */
}

/* Only with error handling can the peer's put end when the target's worker is gone. */
static void connect_far(bool handle_errors)
{
	ucp_ep_params_t params = {
		.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
			      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
			      UCP_EP_PARAM_FIELD_ERR_HANDLER,
		.err_mode = handle_errors ? UCP_ERR_HANDLING_MODE_PEER :
					    UCP_ERR_HANDLING_MODE_NONE,
		.err_handler.cb = failed,
	};
	ucp_address_t *address;
	size_t size;

	MUST(ucp_worker_get_address(near.worker, &address, &size));
	params.address = address;
	MUST(ucp_ep_create(far.worker, &params, &endpoint));
	ucp_worker_release_address(near.worker, address);
}

static void share_memory(void)
{
	const ucp_mem_map_params_t params = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
			      UCP_MEM_MAP_PARAM_FIELD_LENGTH,
		.address = target,
		.length = BYTES,
	};
	void *packed;
	size_t size;

	MUST(ucp_mem_map(near.context, &params, &handle));
	MUST(ucp_rkey_pack(near.context, handle, &packed, &size));
	MUST(ucp_ep_rkey_unpack(endpoint, packed, &key));
	ucp_rkey_buffer_release(packed);
}

/* Both sides make progress. Returns 1 if the put succeeded, or its error. */
static int step(void)
{
	ucs_status_t status = UCS_OK;

	if (near.worker)
		ucp_worker_progress(near.worker);
	ucp_worker_progress(far.worker);
	if (UCS_PTR_IS_ERR(request))
		return UCS_PTR_STATUS(request);
	if (request)
		status = ucp_request_check_status(request);
	return status == UCS_INPROGRESS ? 0 :
	       status == UCS_OK		? 1 :
					  (int)status;
}

static void put(unsigned char value)
{
	const ucp_request_param_t params = { .op_attr_mask = 0 };

	memset(source, value, BYTES);
	request = ucp_put_nbx(endpoint, source, BYTES, (uintptr_t)target, key,
			      &params);
}

static const char *name_of(int result)
{
	return result == 1 ? "succeeded" :
	       !result	   ? "did not complete" :
			     ucs_status_string((ucs_status_t)result);
}

static void unmap_during_a_put(bool worker)
{
	uint64_t before, late;
	int result;

	put(0x22);
	await_part(step, 0x22);
	MUST(ucp_mem_unmap(near.context, handle));
	if (worker) {
		ucp_worker_destroy(near.worker);
		near.worker = NULL;
	}
	before = arrived(0x22);
	result = await_write(step, 0x22);
	late = arrived(0x22) - before;
	printf("ucp_mem_unmap()%s after %llu bytes: %llu bytes arrived later; the put %s\n",
	       worker ? " and ucp_worker_destroy()" : "",
	       (unsigned long long)before, (unsigned long long)late,
	       name_of(result));
}

int main(int argc, char **argv)
{
	bool worker = argc > 1 && !strcmp(argv[1], "worker");
	int result;

	make_memory();
	open_side(&near);
	open_side(&far);
	connect_far(worker);
	share_memory();
	put(0x11);
	require(await_write(step, 0x11) == 1 && arrived(0x11) == BYTES,
		"the first put", "did not arrive");
	printf("UCX %s, UCX_TLS=%s\n", ucp_get_version_string(),
	       getenv("UCX_TLS") ? getenv("UCX_TLS") : "");
	unmap_during_a_put(worker);
	if (worker)
		return 0;
	put(0x33);
	result = await_write(step, 0x33);
	printf("a put with the old key: %s, %llu bytes arrived\n",
	       name_of(result), (unsigned long long)arrived(0x33));
	return 0;
}

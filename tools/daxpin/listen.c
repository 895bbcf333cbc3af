/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection has one request and one answer:
 *
 *	REQUEST  reads until an empty line		[client_read]
 *	ANSWER   writes the answer, then ends its side	[client_write]
 *	DRAIN    discards what the client still sends	[client_drain]
 *
 * The last state is there because a close() with unread bytes resets the connection,
 * and the client could lose the answer. Each state has CLIENT_MS. If all places are
 * taken, a new connection takes that of the oldest one that is not being answered, or
 * of the oldest one.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "command.h"
#include "listen.h"

#define CLIENTS		16
#define CLIENT_MS	10000u
#define REQUEST_MAX	8192u

enum client_state { CLIENT_FREE, CLIENT_REQUEST, CLIENT_ANSWER, CLIENT_DRAIN };

struct client {
	enum client_state state;
	int fd;
	uint64_t since_ms;		/* when the state began */
	uint64_t accepted;		/* number of the connection */
	size_t received, sent, size;
	char *answer;
	char request[REQUEST_MAX + 1];
};

struct server {
	const struct listen_page *page;
	int listener, signals;
	uint64_t accepted;
	struct client client[CLIENTS];
};

static uint64_t listen_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------- a client */

static void client_enter(struct client *client, enum client_state state)
{
	client->state = state;
	client->since_ms = listen_now_ms();
}

static void client_end(struct client *client)
{
	close(client->fd);
	free(client->answer);
	client->answer = NULL;
	client->state = CLIENT_FREE;
}

/* The words of the request's first line; NULL: it has not three. */
static const char *client_parse(char *request, char **ret_target, char **ret_version)
{
	char *save = NULL, *method;

	request[strcspn(request, "\r\n")] = '\0';
	method = strtok_r(request, " ", &save);
	*ret_target = method ? strtok_r(NULL, " ", &save) : NULL;
	*ret_version = *ret_target ? strtok_r(NULL, " ", &save) : NULL;
	return *ret_version && !strtok_r(NULL, " ", &save) ? method : NULL;
}

/* The status of the answer to a complete request. */
static const char *client_judge(char *request, int *ret_head)
{
	char *target, *version;
	const char *method = client_parse(request, &target, &version);

	if (!method || strncmp(version, "HTTP/", 5))
		return "400 Bad Request";
	if (strcmp(version, "HTTP/1.1") && strcmp(version, "HTTP/1.0"))
		return "505 HTTP Version Not Supported";
	*ret_head = !strcmp(method, "HEAD");
	if (!*ret_head && strcmp(method, "GET"))
		return "405 Method Not Allowed";
	target[strcspn(target, "?")] = '\0';
	return strcmp(target, "/metrics") ? "404 Not Found" : "200 OK";
}

/* The text of the page, or of an error. NULL: out of memory. */
static char *client_text(const struct listen_page *page, const char *status,
			 size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);

	if (!out)
		return NULL;
	if (*status == '2')
		page->write(out, page->arg);
	else
		fprintf(out, "%s: this server answers GET /metrics\n", status);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

static void client_answer(struct client *client, const struct listen_page *page,
			  const char *status, int head)
{
	size_t size = 0;
	char *text = client_text(page, status, &size);
	FILE *out = text ? open_memstream(&client->answer, &client->size) : NULL;
	int failed = 1;

	if (out) {
		fprintf(out, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
			status, *status == '2' ? page->type : "text/plain", size,
			*status == '4' && status[2] == '5' ?
			"Allow: GET, HEAD\r\n" : "");
		if (!head)
			fwrite(text, 1, size, out);
		failed = fclose(out);
	}
	free(text);
	if (failed)
		client_end(client);
	else
		client_enter(client, CLIENT_ANSWER);
}

static int client_is_complete(const struct client *client)
{
	return memmem(client->request, client->received, "\r\n\r\n", 4) ||
	       memmem(client->request, client->received, "\n\n", 2);
}

static void client_read(struct client *client, const struct listen_page *page)
{
	const char *status;
	int head = 0;
	ssize_t n = recv(client->fd, client->request + client->received,
			 REQUEST_MAX - client->received, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_end(client);
		return;
	}
	client->received += (size_t)n;
	client->request[client->received] = '\0';
	if (client_is_complete(client))
		status = client_judge(client->request, &head);
	else if (client->received == REQUEST_MAX)
		status = "431 Request Header Fields Too Large";
	else
		return;
	client_answer(client, page, status, head);
}

static void client_write(struct client *client)
{
	ssize_t n = send(client->fd, client->answer + client->sent,
			 client->size - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		client_end(client);
		return;
	}
	client->sent += (size_t)n;
	if (client->sent < client->size)
		return;
	shutdown(client->fd, SHUT_WR);
	client_enter(client, CLIENT_DRAIN);
}

static void client_drain(struct client *client)
{
	char bytes[4096];
	ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		client_end(client);
}

static void client_step(struct client *client, const struct listen_page *page)
{
	if (client->state == CLIENT_REQUEST)
		client_read(client, page);
	else if (client->state == CLIENT_ANSWER)
		client_write(client);
	else if (client->state == CLIENT_DRAIN)
		client_drain(client);
}

/* --------------------------------------------------------------- the server */

static struct client *server_find_place(struct server *server)
{
	struct client *oldest = &server->client[0];

	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &server->client[i];
		int waits = client->state != CLIENT_ANSWER;

		if (client->state == CLIENT_FREE)
			return client;
		if (waits > (oldest->state != CLIENT_ANSWER) ||
		    (waits == (oldest->state != CLIENT_ANSWER) &&
		     client->accepted < oldest->accepted))
			oldest = client;
	}
	client_end(oldest);
	return oldest;
}

static void server_accept(struct server *server)
{
	int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *client;

	/* The client is gone, or there are no descriptors: another poll tries again. */
	if (fd < 0)
		return;
	client = server_find_place(server);
	client->fd = fd;
	client->accepted = server->accepted++;
	client->received = client->sent = client->size = 0;
	client_enter(client, CLIENT_REQUEST);
}

static void server_end_late_clients(struct server *server)
{
	uint64_t now_ms = listen_now_ms();

	for (int i = 0; i < CLIENTS; i++)
		if (server->client[i].state != CLIENT_FREE &&
		    now_ms - server->client[i].since_ms >= CLIENT_MS)
			client_end(&server->client[i]);
}

static void server_watch(const struct server *server, struct pollfd *poll_fd)
{
	poll_fd[0] = (struct pollfd) { .fd = server->signals, .events = POLLIN };
	poll_fd[1] = (struct pollfd) { .fd = server->listener, .events = POLLIN };
	for (int i = 0; i < CLIENTS; i++) {
		const struct client *client = &server->client[i];

		poll_fd[2 + i] = (struct pollfd) {
			.fd = client->state == CLIENT_FREE ? -1 : client->fd,
			.events = client->state == CLIENT_ANSWER ? POLLOUT : POLLIN,
		};
	}
}

/* Until a signal arrives. */
static int server_run(struct server *server)
{
	struct pollfd poll_fd[2 + CLIENTS];

	for (;;) {
		server_watch(server, poll_fd);
		if (poll(poll_fd, 2 + CLIENTS, CLIENT_MS / 10) < 0 && errno != EINTR)
			return -errno;
		if (poll_fd[0].revents)
			return 0;
		for (int i = 0; i < CLIENTS; i++)
			if (poll_fd[2 + i].revents)
				client_step(&server->client[i], server->page);
		server_end_late_clients(server);
		if (poll_fd[1].revents)
			server_accept(server);
	}
}

static int server_watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ----------------------------------------------------------------- the socket */

/* Split HOST:PORT, where HOST may be in brackets. */
static int socket_split(char *address, char **ret_host, char **ret_port)
{
	char *colon = strrchr(address, ':');

	if (!colon || !colon[1])
		return -1;
	*colon = '\0';
	*ret_host = address;
	*ret_port = colon + 1;
	if (address[0] == '[' && colon > address + 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		*ret_host = address + 1;
	}
	return **ret_host ? 0 : -1;
}

static int socket_resolve(const char *address, struct addrinfo **ret_info)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	};
	char *host, *port, *copy = strdup(address);
	int ret = copy ? socket_split(copy, &host, &port) : -1;

	if (!ret)
		ret = getaddrinfo(host, port, &hints, ret_info);
	free(copy);
	return ret ? -1 : 0;
}

/* Returns a socket that listens, or -errno. */
static int socket_open(const struct addrinfo *info)
{
	const int on = 1;
	int ret, fd = socket(info->ai_family,
			     SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* A restart does not wait for connections of before. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, info->ai_addr, info->ai_addrlen) && !listen(fd, CLIENTS))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static void socket_print(int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char host[64] = "", port[16] = "";

	getsockname(fd, (struct sockaddr *)&address, &size);
	getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port,
		    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	printf(strchr(host, ':') ? "listening on [%s]:%s\n" : "listening on %s:%s\n",
	       host, port);
	fflush(stdout);
}

int listen_serve(const char *address, const struct listen_page *page)
{
	static struct server server;
	struct addrinfo *info;
	int ret;

	if (socket_resolve(address, &info)) {
		fprintf(stderr, "daxpin %s: --listen %s: give a numeric address and a port, such as 127.0.0.1:9500 or [::1]:9500\n",
			page->command, address);
		return EXIT_UNKNOWN;
	}
	server.page = page;
	server.signals = server_watch_signals();
	ret = server.listener = socket_open(info);
	freeaddrinfo(info);
	if (ret >= 0) {
		socket_print(server.listener);
		ret = server_run(&server);
	}
	if (ret >= 0)
		return EXIT_CLEAN;
	fprintf(stderr, "daxpin %s: --listen %s: %s\n", page->command, address,
		strerror(-ret));
	return EXIT_UNKNOWN;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Traffic of the containers' network namespaces. Of containers that share one, the
 * oldest reports its counters, so that sums over containers are correct.
 */
#include <linux/hashtable.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched/task.h>
#include <net/net_namespace.h>

#include "estiba.h"

/* The oldest container of each network namespace, in this build. */
static DEFINE_HASHTABLE(owners, 10);

static struct net *net_of(struct task_struct *p)
{
	struct net *net = NULL;
	struct task_struct *t;

	rcu_read_lock();
	t = estiba_live_thread(p);
	if (t) {
		task_lock(t);
		/* It may have started to exit. */
		if (t->nsproxy)
			net = get_net(t->nsproxy->net_ns);
		task_unlock(t);
	}
	rcu_read_unlock();
	return net;
}

static bool is_older(const struct estiba_container *a, const struct estiba_container *b)
{
	return a->init_start < b->init_start ||
	       (a->init_start == b->init_start && a->pid < b->pid);
}

static void find_network(struct estiba_container *c)
{
	struct estiba_container *other;

	c->net = c->init ? net_of(c->init) : NULL;
	if (!c->net)
		return;
	/* No traffic in the host's namespace belongs to the container. */
	if (c->net == &init_net) {
		c->network = ESTIBA_NETWORK_HOST;
		return;
	}
	c->network = ESTIBA_NETWORK_OWN;
	hash_for_each_possible(owners, other, by_net, (unsigned long)c->net) {
		if (other->net != c->net)
			continue;
		if (is_older(other, c)) {
			c->network = ESTIBA_NETWORK_SHARED;
			return;
		}
		other->network = ESTIBA_NETWORK_SHARED;
		hash_del(&other->by_net);
		break;
	}
	hash_add(owners, &c->by_net, (unsigned long)c->net);
}

/**
 * estiba_networks_find() - Find the network namespace of every container.
 * @b: after estiba_walk()
 *
 * The references are held until estiba_network_read().
 */
void estiba_networks_find(struct estiba_build *b)
{
	size_t i;

	hash_init(owners);
	for (i = 0; i < b->count; i++) {
		find_network(b->list[i]);
		cond_resched();
	}
}

/* Interfaces visited before cond_resched(). */
#define DEVICES_BATCH 64

/*
 * Leave RCU to reschedule: a container may create any number of interfaces. False if
 * the list has changed since seq: dev may be gone, or in another namespace, where
 * iterating on would follow that one's list.
 */
static bool resched_at(const struct net *net, struct net_device *dev,
		    unsigned int seq)
{
	bool same;

	dev_hold(dev);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	/*
	 * Removing an interface bumps the sequence after unlinking, then waits for
	 * RCU readers: an interface listed until here stays valid.
	 */
	same = READ_ONCE(net->dev_base_seq) == seq;
	dev_put(dev);
	return same;
}

static void sum_devices(struct estiba_container *c, u64 now)
{
	u64 rx_bytes = 0, tx_bytes = 0, rx_packets = 0, tx_packets = 0;
	unsigned int visited = 0, seq;
	struct net_device *dev;
	bool whole = true;

	rcu_read_lock();
	seq = READ_ONCE(c->net->dev_base_seq);
	for_each_netdev_rcu(c->net, dev) {
		struct rtnl_link_stats64 s;

		if (dev->flags & IFF_LOOPBACK)
			continue;
		dev_get_stats(dev, &s);
		rx_bytes += s.rx_bytes;
		tx_bytes += s.tx_bytes;
		rx_packets += s.rx_packets;
		tx_packets += s.tx_packets;
		if (++visited % DEVICES_BATCH == 0 && !resched_at(c->net, dev, seq)) {
			whole = false;
			break;
		}
	}
	rcu_read_unlock();
	/* A partial sum would look like a counter reset. */
	if (!whole)
		return;
	counter_feed(&c->net_rx_bytes, rx_bytes, now);
	counter_feed(&c->net_tx_bytes, tx_bytes, now);
	counter_feed(&c->net_rx_packets, rx_packets, now);
	counter_feed(&c->net_tx_packets, tx_packets, now);
}

/**
 * estiba_network_read() - Sum the interfaces of a container's network namespace.
 * @c: after estiba_networks_find()
 * @now: boot clock, ns
 *
 * Without loopback, and only if this container reports the namespace's counters.
 */
void estiba_network_read(struct estiba_container *c, u64 now)
{
	if (!c->net)
		return;
	if (c->network == ESTIBA_NETWORK_OWN)
		sum_devices(c, now);
	put_net(c->net);
	c->net = NULL;
}

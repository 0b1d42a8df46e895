# What a node says in the moments after its start, when it does not know the cluster yet: nothing that clients would believe.

import wire
from cluster import observe


def test_a_node_alone_tells_clients_of_no_empty_cluster(new_cluster):
    """Two of three voters are away: the node cannot know who is there, and an answer without brokers or topics makes librdkafka
    let go of all that it knew."""
    cluster = new_cluster(count=3)
    cluster.start()
    cluster.create_topic("known", partitions=1)
    for node in cluster.nodes.values():
        node.kill()
    alone = cluster[2]
    alone.start()
    answers = []

    def ask():
        try:
            answers.append(alone.metadata(["known"]))
        except (OSError, EOFError, AssertionError, wire.struct.error):
            pass
    observe(1.5, ask)
    assert "listens on" in alone.log()
    assert answers == []
    cluster[1].start()
    cluster.wait_ready()
    assert sorted(alone.metadata(["known"]).brokers) == [1, 2]
    assert alone.metadata(["known"]).topics["known"].error == 0

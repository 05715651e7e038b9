"""What the tests share: polling, processes, a fault-injecting proxy, histories and their checker."""

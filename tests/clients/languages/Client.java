import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** An experiment client with nothing but the JDK: arguments are the base URL, the key, the flag and the experiment. */
public class Client {
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    public static void main(String[] args) throws Exception {
        String flagged = call(args, "/ofrep/v1/evaluate/flags/" + args[2], "{\"context\":{\"targetingKey\":\"u1\"}}");
        StringBuilder events = new StringBuilder();
        for (int n = 0; n < 3; n++) {
            events.append(n == 0 ? "" : ",").append("{\"user_id\":\"u" + n + "\",\"event_type\":\"view\",\"experiment_id\":\"" + args[3] + "\"}");
        }
        String stored = call(args, "/api/v1/events/batch", "{\"events\":[" + events + "]}");
        System.out.println("{\"value\":" + flagged.contains("\"value\":true") + ",\"processed\":" + (stored.contains("\"processed\":3") ? 3 : 0) + "}");
    }

    private static String call(String[] args, String path, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(args[0] + path))
            .header("Authorization", "Bearer " + args[1])
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException(path + ": " + answer.statusCode() + " " + answer.body());
        }
        return answer.body();
    }
}
